// All gradient steps of an update in one call, of networks that learn from the same minibatches.
//
// ∂loss/∂outputs comes from the loss head: what the algorithm's file says in Torch, as a function of the outputs,
// compiled by Torch.

#include "fused.hpp"

extern "C" {

// A tensor of the batch that the loss head reads: [rows, …], or a scalar (`dimensions` 0), the count of episodes.
struct Field {
  const char* data;
  int64_t dimensions, sizes[3], row_bytes;
  int32_t type;  // as Torch numbers them
};

struct Update {
  Head head;
  void* container;
  const double* numbers;  // the algorithm's settings that are floats; where the head has them as constants, there are −1
  int64_t number_count, network_count, field_count, record_count, rows;
  Network* networks;
  const Field* fields;
  const float* observations;  // [rows, n_0]
  float largest_norm;         // negative: no clipping
  int64_t clip_together;
  Adam adam;
};

// Takes `count` gradient steps; step s learns from the rows order[starts[s]], …, order[starts[s + 1] − 1] of the batch,
// or, where `order` is null, from the whole batch as it is. Writes the head's scalars and the networks' gradient norms
// before clipping to `records` [count, record_count]. Returns 0, or the number of the step whose head failed, from 1.
int64_t pgl_update(const Update* update, const int64_t* order, const int64_t* starts, int64_t count, float* records) {
  static thread_local std::vector<Buffer> gathered, memory;
  static thread_local Buffer scratch;
  const Update& u = *update;
  gathered.resize(std::max(gathered.size(), size_t(u.field_count + 1)));
  memory.resize(std::max(memory.size(), size_t(PARTS * u.network_count)));
  std::vector<Pass> passes;
  for (int64_t n = 0; n < u.network_count; ++n) passes.emplace_back(u.networks[n], &memory[PARTS * n], scratch);
  std::vector<AtenTensorHandle> inputs, results;
  int32_t single = aoti_torch_dtype_float32();
  for (int64_t s = 0; s < count; ++s, records += u.record_count) {
    const int64_t rows = order ? starts[s + 1] - starts[s] : u.rows, *chosen = order ? order + starts[s] : nullptr;
    auto gather = [&](int64_t place, const char* data, int64_t bytes) {
      if (!order) return data;
      char* to = gathered[place].of<char>(rows * bytes);
      for (int64_t b = 0; b < rows; ++b) std::memcpy(to + b * bytes, data + chosen[b] * bytes, bytes);
      return const_cast<const char*>(to);
    };
    int64_t width = passes[0].size(0);
    auto observations = reinterpret_cast<const float*>(
        gather(u.field_count, reinterpret_cast<const char*>(u.observations), width * sizeof(float)));
    inputs.clear();
    if (u.number_count >= 0) inputs.push_back(tensor(u.numbers, 1, &u.number_count, aoti_torch_dtype_float64()));
    results.assign(1, nullptr);
    for (Pass& pass : passes) {
      pass.prepare();
      pass.forward(observations, width, rows);
      int64_t shape[2] = {rows, pass.size(pass.network.layers)};
      inputs.push_back(tensor(pass.outputs, 2, shape, single));
      if (pass.network.extra) inputs.push_back(tensor(pass.network.vector, 1, &pass.network.extra, single));
      results.resize(results.size() + (pass.network.extra ? 2 : 1));
    }
    float episodes;
    for (int64_t f = 0; f < u.field_count; ++f) {
      const Field& field = u.fields[f];
      int64_t shape[3] = {rows, field.sizes[1], field.sizes[2]};
      const void* data = &episodes;
      if (field.dimensions) data = gather(f, field.data, field.row_bytes);
      else episodes = *reinterpret_cast<const float*>(field.data) * float(double(rows) / double(u.rows));
      inputs.push_back(tensor(data, field.dimensions, shape, field.type));
    }
    if (u.head(u.container, inputs.data(), inputs.size(), results.data(), results.size(), nullptr, nullptr)) return s + 1;
    int64_t scalars = u.record_count - u.network_count, place = 1;
    std::memcpy(records, data_of(results[0]), scalars * sizeof(float));
    float together = 0;
    for (int64_t n = 0; n < u.network_count; ++n) {
      bool extra = passes[n].network.extra;
      passes[n].backward(data_of(results[place]), extra ? data_of(results[place + 1]) : nullptr);
      place += extra ? 2 : 1;
      float norm = records[scalars + n] = passes[n].norm();
      together += norm * norm;
    }
    for (int64_t n = 0; n < u.network_count; ++n) {
      float norm = u.clip_together ? std::sqrt(together) : records[scalars + n], scale = 1;
      if (u.largest_norm >= 0) scale = u.largest_norm / (norm + 1e-6f);
      passes[n].step(u.adam, scale > 1 ? 1 : scale);
    }
    for (AtenTensorHandle handle : results) aoti_torch_delete_tensor_object(handle);
  }
  return 0;
}

}  // extern "C"
