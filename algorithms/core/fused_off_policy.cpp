// A gradient step of an off-policy algorithm in one call: targets, critics, policy, and the targets that follow them.
//
// What the networks put out goes through heads, which the algorithm's file says in Torch and Torch has compiled: target
// actions, the losses of critics and policy. The steps are those of `OffPolicyUpdate.step`, on the same memory.

#include "fused.hpp"

namespace {

// What heads read and which heads there are, in the order of `Slot` and `Part` in fused_off_policy.py.
enum Slot {
  NUMBERS, OBSERVATIONS, ACTIONS, REWARDS, NEXT_OBSERVATIONS, TERMINATED, NEXT_NOISE, NOISE,  // given
  POLICY_ACTIONS, LOG_PROBS, NEXT_VALUES, VALUES, SLOTS                                      // made here
};
enum Part { TARGET_ACTIONS, CRITIC_LOSS, POLICY_LOSS };
constexpr int64_t OF_CRITICS = 2;  // how many scalars the critics' loss records; the policy's are after them

}  // namespace

extern "C" {

struct Tensor {  // contiguous; NUMBERS are in double precision, all others in single
  const void* data;
  int64_t dimensions, sizes[2];
};

struct Call {
  Head head;  // null: there is none
  void* container;
  int64_t input_count, inputs[SLOTS], output_count;
};

struct Step {
  int64_t rows, observation_size, action_size, critic_count, stochastic;
  Network *policy, *critics, *target_critics;
  Network* target_policy;  // null: next actions are of the policy itself
  Tensor* tensors;         // by Slot
  const Call* calls;       // by Part
  float tau, smallest_log_std, largest_log_std;
  Adam adam;
};

}  // extern "C"

namespace {

struct Results {  // of heads; they live until the end of the gradient step
  std::vector<AtenTensorHandle> all;
  ~Results() {
    for (AtenTensorHandle handle : all) aoti_torch_delete_tensor_object(handle);
  }
};

// As `BoundedPolicy.forward`: a = tanh(u), where u = μ, or u = μ + e^σ ε with σ within its bounds. With
// log(1 − tanh²(u)) = 2 (log(1 + |a|) − |u|),   log π = Σ (2 |u| − ½ ε² − σ − ½ log 2π) − 2 log Π (1 + |a|).
struct PolicyActions {
  const Step& u;
  float *actions, *log_probs, *before, *spread;  // a [rows, A], log π [rows], u and e^σ ε [rows, A]

  PolicyActions(const Step& u, Buffer& memory) : u(u) {
    int64_t size = padded(u.rows * u.action_size);
    actions = memory.of<float>(3 * size + u.rows);
    before = actions + size, spread = before + size, log_probs = spread + size;
    std::memset(log_probs, 0, u.rows * sizeof(float));
  }

  bool within(float log_std) const { return log_std >= u.smallest_log_std && log_std <= u.largest_log_std; }

  // `outputs` are μ [rows, A], or in a row μ and then σ.
  void make(const float* outputs, const float* noise) {
    const int64_t size = u.action_size, row = u.stochastic ? 2 * size : size;
    float low = u.smallest_log_std, high = u.largest_log_std;
    for (int64_t b = 0; b < u.rows; ++b) {
      float sum = 0;
      for (int64_t i = 0; i < size; ++i) {
        const float* mean = outputs + b * row + i;
        const int64_t at = b * size + i;
        before[at] = *mean;
        if (!u.stochastic) continue;
        float log_std = mean[size] < low ? low : mean[size] > high ? high : mean[size];
        spread[at] = std::exp(log_std) * noise[at];
        before[at] += spread[at];
        sum -= 0.5f * noise[at] * noise[at] + log_std + 0.918938533f;  // ½ log 2π
      }
      log_probs[b] = sum;
    }
    for (int64_t e = 0; e < u.rows * size; e += LANES) vector_at(actions + e) = tanh_of(vector_at(before + e));
    for (int64_t b = 0; b < u.rows && u.stochastic; ++b) {
      double sum = 0, product = 1;
      for (int64_t at = b * size; at < (b + 1) * size; ++at) {
        sum += std::abs(before[at]);
        product *= 1 + std::abs(actions[at]);
        if (product > 1e300) sum -= std::log(product), product = 1;
      }
      log_probs[b] += float(2 * (sum - std::log(product)));
    }
  }

  // ∂loss/∂outputs from ∂loss/∂a [rows, A] and ∂loss/∂log π [rows]: ∂a/∂u = 1 − a² and ∂log π/∂u = 2 a.
  void slopes(const float* outputs, const float* of_actions, const float* of_log_probs, float* to) const {
    const int64_t size = u.action_size, row = u.stochastic ? 2 * size : size;
    for (int64_t b = 0; b < u.rows; ++b)
      for (int64_t i = 0; i < size; ++i) {
        const int64_t at = b * size + i, mean = b * row + i;
        const float a = actions[at];
        to[mean] = of_actions[at] * (1 - a * a);
        if (!u.stochastic) continue;
        to[mean] += of_log_probs[b] * 2 * a;
        to[mean + size] = within(outputs[mean + size]) ? to[mean] * spread[at] - of_log_probs[b] : 0;
      }
  }
};

// θ' ← (1 − τ) θ' + τ θ
void follow(const Network& target, const Network& network, float tau, int64_t parameters) {
  for (int64_t e = 0; e < parameters; ++e) target.vector[e] += tau * (network.vector[e] - target.vector[e]);
}

}  // namespace

extern "C" {

// Takes a step of every critic and, where it `moves_policy`, of the policy and of the targets. Writes the heads' scalars
// to `records`. Returns 0, or the number of the head that failed, from 1.
int64_t pgl_off_policy_step(const Step* step, int64_t moves_policy, float* records) {
  static thread_local std::vector<Buffer> memory, further;
  static thread_local Buffer scratch;
  const Step& u = *step;
  const int64_t rows = u.rows, observed = u.observation_size, acted = u.action_size, width = observed + acted;
  memory.resize(std::max(memory.size(), size_t(PARTS * (u.critic_count + 1))));
  further.resize(6);
  Tensor* slots = u.tensors;
  auto given = [&](Slot slot) { return static_cast<const float*>(slots[slot].data); };
  Results results;
  std::vector<AtenTensorHandle> inputs;
  const AtenTensorHandle* made = nullptr;  // by the last head
  auto failed = [&](Part which) {
    const Call& part = u.calls[which];
    inputs.clear();
    for (int64_t i = 0; i < part.input_count; ++i) {
      const Tensor& t = slots[part.inputs[i]];
      int32_t type = part.inputs[i] == NUMBERS ? aoti_torch_dtype_float64() : aoti_torch_dtype_float32();
      inputs.push_back(tensor(t.data, t.dimensions, t.sizes, type));
    }
    size_t before = results.all.size();
    results.all.resize(before + part.output_count, nullptr);
    AtenTensorHandle* outputs = results.all.data() + before;
    made = outputs;
    return part.head(part.container, inputs.data(), inputs.size(), outputs, part.output_count, nullptr, nullptr) != 0;
  };
  float *states_and_actions = further[0].of<float>(rows * width), *values = further[1].of<float>(u.critic_count * rows);
  float* next_values = further[2].of<float>(u.critic_count * rows);
  auto join = [&](const float* observations, const float* actions) {
    for (int64_t b = 0; b < rows; ++b) {
      std::memcpy(states_and_actions + b * width, observations + b * observed, observed * sizeof(float));
      std::memcpy(states_and_actions + b * width + observed, actions + b * acted, acted * sizeof(float));
    }
  };
  auto evaluate = [&](Pass& critic, float* to) {
    critic.prepare();
    critic.forward(states_and_actions, width, rows);
    std::memcpy(to, critic.outputs, rows * sizeof(float));
  };
  auto policy_outputs = [&] { return further[5].of<float>(rows * (u.stochastic ? 2 : 1) * acted); };
  slots[VALUES].data = values, slots[NEXT_VALUES].data = next_values;

  Pass next(u.target_policy ? *u.target_policy : *u.policy, &memory[0], scratch);
  next.prepare();
  next.evaluate(given(NEXT_OBSERVATIONS), observed, rows, policy_outputs());
  PolicyActions acts(u, further[4]);
  acts.make(policy_outputs(), given(NEXT_NOISE));
  slots[POLICY_ACTIONS].data = acts.actions, slots[LOG_PROBS].data = acts.log_probs;
  const bool others = u.calls[TARGET_ACTIONS].head;
  if (others && failed(TARGET_ACTIONS)) return 1 + TARGET_ACTIONS;
  join(given(NEXT_OBSERVATIONS), others ? data_of(made[0]) : acts.actions);
  for (int64_t c = 0; c < u.critic_count; ++c) {
    Pass target(u.target_critics[c], &memory[0], scratch);
    target.prepare();
    target.evaluate(states_and_actions, width, rows, next_values + c * rows);
  }

  std::vector<Pass> critics;
  for (int64_t c = 0; c < u.critic_count; ++c) critics.emplace_back(u.critics[c], &memory[PARTS * (c + 1)], scratch);
  join(given(OBSERVATIONS), given(ACTIONS));
  for (int64_t c = 0; c < u.critic_count; ++c) evaluate(critics[c], values + c * rows);
  if (failed(CRITIC_LOSS)) return 1 + CRITIC_LOSS;
  std::memcpy(records, data_of(made[0]), OF_CRITICS * sizeof(float));
  for (int64_t c = 0; c < u.critic_count; ++c) {
    critics[c].backward(data_of(made[1]) + c * rows, nullptr);
    critics[c].step(u.adam, 1);
  }
  if (!moves_policy) return 0;

  Pass policy(*u.policy, &memory[0], scratch);
  policy.prepare();
  policy.forward(given(OBSERVATIONS), observed, rows);
  acts.make(policy.outputs, given(NOISE));
  join(given(OBSERVATIONS), acts.actions);
  for (int64_t c = 0; c < u.critic_count; ++c) evaluate(critics[c], values + c * rows);
  if (failed(POLICY_LOSS)) return 1 + POLICY_LOSS;
  std::memcpy(records + OF_CRITICS, data_of(made[0]), (u.stochastic ? 2 : 1) * sizeof(float));
  float *slopes = further[3].of<float>(rows * acted), *of_outputs = policy_outputs();
  std::memset(slopes, 0, rows * acted * sizeof(float));
  for (int64_t c = 0; c < u.critic_count; ++c)
    critics[c].add_input_gradient(data_of(made[1]) + c * rows, observed, slopes);
  acts.slopes(policy.outputs, slopes, data_of(made[2]), of_outputs);
  policy.backward(of_outputs, nullptr);
  policy.step(u.adam, 1);
  for (int64_t c = 0; c < u.critic_count; ++c) follow(u.target_critics[c], u.critics[c], u.tau, critics[c].parameters);
  if (u.target_policy) follow(*u.target_policy, *u.policy, u.tau, policy.parameters);
  return 0;
}

}  // extern "C"
