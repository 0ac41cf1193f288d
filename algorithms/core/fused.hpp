// Multilayer perceptrons: forward, gradients and Adam of a minibatch, in kernels for the vectors of this processor.
//
//     x_0 = inputs,   z_l = x_{l-1} W_lᵀ + b_l,   x_l = φ(z_l),   outputs = z_L                             forward
//     δ_L = ∂loss/∂outputs,  ∂loss/∂W_l = δ_lᵀ x_{l-1},  ∂loss/∂b_l = Σ δ_l,  δ_{l-1} = (δ_l W_l) φ'(z_{l-1})  gradients
//
// Steps are those of `Optimizer.step`, on the same memory. Matrices are stored by rows; a row has room for a whole number
// of vectors of LANES floats, and what is beyond its end is zero.

#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace {

#ifdef __AVX512F__
constexpr int64_t LANES = 16, ROWS = 8;  // in registers are ROWS × VECTORS vectors of LANES floats
#else
constexpr int64_t LANES = 8, ROWS = 4;
#endif
constexpr int64_t VECTORS = 2;
constexpr int64_t BLOCK = 256;  // rows of a batch whose gradients are summed before they are added: cache and rounding
typedef float Vector __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));
typedef int32_t Whole __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));

int64_t padded(int64_t size) { return (size + LANES - 1) / LANES * LANES; }

Vector& vector_at(float* x) { return *reinterpret_cast<Vector*>(x); }
Vector vector_at(const float* x) { return *reinterpret_cast<const Vector*>(x); }

// tanh x = (eᵗ − 1) / (eᵗ + 1) with t = 2x = n ln 2 + r and eᵗ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1). NaN stays NaN.
Vector tanh_of(Vector x) {
  constexpr float LARGEST = 9.02f;  // from there on, tanh is 1 in single precision
  constexpr float LN2_HIGH = 0x1.62e4p-1f, LN2_LOW = float(0.693147180559945309417 - double(LN2_HIGH));
  constexpr float ROUNDS = 0x1.8p23f;  // added and subtracted, it leaves a whole number
  x = x > LARGEST ? Vector{} + LARGEST : x;
  x = x < -LARGEST ? Vector{} - LARGEST : x;
  Vector t = x + x, n = (t * 1.44269504f + ROUNDS) - ROUNDS;
  Vector r = (t - n * LN2_HIGH) - n * LN2_LOW;
  Vector series = r * (1.0f / 40320) + 1.0f / 5040;  // of (eʳ − 1) / r
  for (float term : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 1.0f / 2, 1.0f}) series = series * r + term;
  Whole exponent = (__builtin_convertvector(n, Whole) + 127) << 23;
  Vector power;
  std::memcpy(&power, &exponent, sizeof power);
  Vector e = power * (series * r) + (power - 1);
  return e / (e + 2);
}

// C = A B + start, where A [m, k] has strides, and `start` has rows like C's, or one for all (`start_row` 0).
struct Product {
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t b_row;
  const float* start;
  int64_t start_row;
  float* c;
  int64_t c_row;

  // R rows of C from row i, and V vectors from column j.
  template <int64_t R, int64_t V>
  void tile(int64_t i, int64_t j, int64_t k) const {
    Vector sum[R][V];
    for (int64_t r = 0; r < R; ++r)
      for (int64_t v = 0; v < V; ++v) sum[r][v] = vector_at(start + (i + r) * start_row + j + v * LANES);
    for (int64_t p = 0; p < k; ++p)
      for (int64_t r = 0; r < R; ++r) {
        const Vector x = Vector{} + a[(i + r) * a_row + p * a_column];
        for (int64_t v = 0; v < V; ++v) sum[r][v] += x * vector_at(b + p * b_row + j + v * LANES);
      }
    for (int64_t r = 0; r < R; ++r)
      for (int64_t v = 0; v < V; ++v) vector_at(c + (i + r) * c_row + j + v * LANES) = sum[r][v];
  }

  template <int64_t R, int64_t V>
  void columns(int64_t m, int64_t j, int64_t k, int64_t i = 0) const {
    for (; i + R <= m; i += R) tile<R, V>(i, j, k);
    if constexpr (R > 1) columns<R / 2, V>(m, j, k, i);
  }

  void compute(int64_t m, int64_t n, int64_t k) const {  // n is a whole number of vectors
    int64_t j = 0;
    for (; j + VECTORS * LANES <= n; j += VECTORS * LANES) columns<ROWS, VECTORS>(m, j, k);
    for (; j < n; j += LANES) columns<2 * ROWS, 1>(m, j, k);
  }
};

const float ONE = 1, *const ONES = &ONE;  // a matrix of ones, with strides of 0

// put(to[c, r], from[r, c]) for every row r and column c of `from`, in squares, since whole columns would evict each other.
template <typename Put>
void transpose(const float* from, int64_t from_row, int64_t rows, int64_t columns, float* to, int64_t to_row, Put put) {
  constexpr int64_t SIDE = 16;
  auto square = [&](int64_t r, int64_t c, int64_t height, int64_t width) {
    for (int64_t j = c; j < c + width; ++j)
      for (int64_t i = r; i < r + height; ++i) put(to[j * to_row + i], from[i * from_row + j]);
  };
  for (int64_t r = 0; r < rows; r += SIDE)
    for (int64_t c = 0; c < columns; c += SIDE)
      if (r + SIDE <= rows && c + SIDE <= columns) square(r, c, SIDE, SIDE);
      else square(r, c, std::min(SIDE, rows - r), std::min(SIDE, columns - c));
}

}  // namespace

extern "C" {

// A network and its Adam state. `vector` holds `extra` parameters of the loss head, then W_l [n_l, n_{l-1}] and b_l of
// each layer. `sizes` are n_0, …, n_layers.
struct Network {
  int64_t layers, relu, extra;
  const int64_t* sizes;
  float *vector, *mean, *square, *step_count;
  float learning_rate;
};

// Reads inputs, which it takes over, and writes outputs: see Torch's AOTInductorModelContainerRunSingleThreaded.
typedef int32_t (*Head)(void* container, AtenTensorHandle* inputs, size_t count, AtenTensorHandle* outputs,
                        size_t output_count, void* stream, void* proxy);

struct Adam {
  float beta_1, beta_2, epsilon;
};

}  // extern "C"

namespace {

struct Buffer {  // memory that is kept from one call to the next
  std::unique_ptr<char[]> memory;
  size_t size = 0;
  template <typename T>
  T* of(int64_t count) {
    constexpr size_t LINE = 64;  // bytes of a cache line, at which the memory begins
    size_t bytes = count * sizeof(T) + 2 * LINE;
    if (bytes > size) memory.reset(new char[size = bytes + bytes / 4]);
    return reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(memory.get()) + LINE - 1) / LINE * LINE);
  }
};

AtenTensorHandle tensor(const void* data, int64_t dimensions, const int64_t* sizes, int32_t type) {
  int64_t strides[3] = {1, 1, 1};
  for (int64_t i = dimensions - 2; i >= 0; --i) strides[i] = strides[i + 1] * sizes[i + 1];
  AtenTensorHandle handle;
  aoti_torch_create_tensor_from_blob(const_cast<void*>(data), dimensions, sizes, strides, 0, type,
                                     aoti_torch_device_type_cpu(), 0, &handle);
  return handle;
}

const float* data_of(AtenTensorHandle handle) {
  void* data;
  aoti_torch_get_data_ptr(handle, &data);
  return static_cast<const float*>(data);
}

constexpr int64_t PARTS = 4;  // of a pass's memory

// The passes of one network over a minibatch. What is kept lies in `memory`, which has PARTS; `scratch` is for all.
struct Pass {
  Network& network;
  Buffer *memory, &scratch;
  int64_t rows = 0, parameters = 0;
  std::vector<const float*> inputs;    // x_{l-1} of each layer
  std::vector<int64_t> widths;         // floats from one row of x_{l-1} to the next
  std::vector<const float*> straight;  // W_l [n_l, n_{l-1}] of the layers from the second, rows padded
  std::vector<const float*> turned;    // W_lᵀ [n_{l-1}, n_l], and then b_l, rows padded
  float *outputs = nullptr, *gradient = nullptr;

  Pass(Network& network, Buffer* memory, Buffer& scratch)
      : network(network), memory(memory), scratch(scratch), parameters(network.extra) {
    for (int64_t l = 0; l < network.layers; ++l) parameters += (size(l) + 1) * size(l + 1);
  }

  int64_t size(int64_t l) const { return network.sizes[l]; }

  // Lays the parameters out as products need them; to be called again when they have changed.
  void prepare() {
    int64_t weights = 0;
    for (int64_t l = 0; l < network.layers; ++l)
      weights += (size(l) + 1) * padded(size(l + 1)) + size(l + 1) * padded(size(l));
    float* w = memory[1].of<float>(weights);
    straight.clear(), turned.clear();
    const float* given = network.vector + network.extra;
    for (int64_t l = 0; l < network.layers; ++l) {
      int64_t in = size(l), out = size(l + 1), width = padded(out), in_width = padded(in);
      float* bias = w + in * width;
      if (width > out) std::memset(w, 0, (in + 1) * width * sizeof(float));
      transpose(given, in, out, in, w, width, [](float& to, float what) { to = what; });
      std::memcpy(bias, given + in * out, out * sizeof(float));
      turned.push_back(w), straight.push_back(given);
      w = bias + width;
      if (l > 0 && in_width > in) {
        straight[l] = w;
        std::memset(w, 0, out * in_width * sizeof(float));
        for (int64_t o = 0; o < out; ++o) std::memcpy(w + o * in_width, given + o * in, in * sizeof(float));
        w += out * in_width;
      }
      given += (in + 1) * out;
    }
  }

  // After `prepare`. From one row of `x_0` to the next are `x_row` floats.
  void forward(const float* x_0, int64_t x_row, int64_t rows_) {
    rows = rows_;
    int64_t floats = 0;
    for (int64_t l = 0; l < network.layers; ++l) floats += rows * padded(size(l + 1));
    float* x = memory[0].of<float>(floats);
    inputs.assign(1, x_0);
    widths.assign(1, x_row);
    for (int64_t l = 0; l < network.layers; ++l) {
      int64_t in = size(l), width = padded(size(l + 1));
      const float* bias = turned[l] + in * width;
      Product{inputs[l], widths[l], 1, turned[l], width, bias, 0, x, width}.compute(rows, width, in);
      if (l + 1 < network.layers)
        for (float* y = x; y < x + rows * width; y += LANES)
          vector_at(y) = network.relu ? (vector_at(y) < 0 ? Vector{} : vector_at(y)) : tanh_of(vector_at(y));
      inputs.push_back(x), widths.push_back(width);
      x += rows * width;
    }
    int64_t out = size(network.layers);
    outputs = memory[2].of<float>(rows * out);
    for (int64_t b = 0; b < rows; ++b)
      std::memcpy(outputs + b * out, inputs.back() + b * padded(out), out * sizeof(float));
  }

  // As `forward`, where no gradient is asked for; writes the outputs to `to` [rows, n_layers]. A few rows go through all
  // layers before others do, so that what is between the layers stays in the cache.
  void evaluate(const float* x_0, int64_t x_row, int64_t rows_, float* to) {
    constexpr int64_t STRIP = 64;
    for (int64_t begin = 0; begin < rows_; begin += STRIP) {
      forward(x_0 + begin * x_row, x_row, std::min(STRIP, rows_ - begin));
      std::memcpy(to + begin * size(network.layers), outputs, rows * size(network.layers) * sizeof(float));
    }
  }

  // `of_outputs` [rows, n_layers] and `of_extra` [extra] are the loss head's gradients.
  void backward(const float* of_outputs, const float* of_extra) {
    gradient = memory[3].of<float>(parameters);
    if (network.extra) std::memcpy(gradient, of_extra, network.extra * sizeof(float));
    for (int64_t begin = 0; begin < rows; begin += BLOCK) {
      int64_t count = start_block(of_outputs, begin);
      float* part = gradient + parameters;
      for (int64_t l = network.layers - 1; l >= 0; --l) {
        int64_t in = size(l), in_width = padded(in), out = size(l + 1), width = padded(out);
        part -= (in + 1) * out;
        auto add = [&](float& to, float what) { to = begin ? to + what : what; };
        if (l > 0) {  // the sums are of W_l, and can lie where they belong; x_{l-1} has whole vectors
          const float* x = inputs[l] + begin * in_width;
          float* to = begin || in_width > in ? sums : part;
          Product{delta, 1, width, x, in_width, zeros, 0, to, in_width}.compute(out, in_width, count);
          for (int64_t o = 0; o < out && to == sums; ++o)
            for (int64_t i = 0; i < in; ++i) add(part[o * in + i], sums[o * in_width + i]);
        } else {  // of W_lᵀ
          const float* x = inputs[l] + begin * widths[l];
          Product{x, 1, widths[l], delta, width, zeros, 0, sums, width}.compute(in, width, count);
          transpose(sums, width, in, out, part, in, add);
        }
        Product{ONES, 0, 0, delta, width, zeros, 0, sums, width}.compute(1, width, count);
        for (int64_t o = 0; o < out; ++o) add(part[in * out + o], sums[o]);
        if (l > 0) descend(l, begin, count);
      }
    }
  }

  // Adds ∂loss/∂x_0 in the columns from `first` to `to` [rows, n_0 − first].
  void add_input_gradient(const float* of_outputs, int64_t first, float* to) {
    int64_t columns = size(0) - first, width = padded(columns), hidden = size(1);
    for (int64_t begin = 0; begin < rows; begin += BLOCK) {
      int64_t count = start_block(of_outputs, begin);
      for (int64_t l = network.layers - 1; l > 0; --l) descend(l, begin, count);
      std::memset(sums, 0, hidden * width * sizeof(float));
      for (int64_t o = 0; o < hidden; ++o)
        std::memcpy(sums + o * width, network.vector + network.extra + o * size(0) + first, columns * sizeof(float));
      Product{delta, padded(hidden), 1, sums, width, zeros, 0, next, width}.compute(count, width, hidden);
      for (int64_t b = 0; b < count; ++b)
        for (int64_t c = 0; c < columns; ++c) to[(begin + b) * columns + c] += next[b * width + c];
    }
  }

  float norm() const {
    Vector sum{};
    int64_t e = 0;
    for (; e + LANES <= parameters; e += LANES) sum += vector_at(gradient + e) * vector_at(gradient + e);
    float total = 0;
    for (int64_t i = 0; i < LANES; ++i) total += sum[i];
    for (; e < parameters; ++e) total += gradient[e] * gradient[e];
    return std::sqrt(total);
  }

  // As `optimizer.take_adam_step`, along the gradient times `scale`.
  void step(const Adam& adam, float scale) {
    float t = ++*network.step_count, rate = -(network.learning_rate / (1 - std::pow(adam.beta_1, t)));
    float root_scale = std::sqrt(1 - std::pow(adam.beta_2, t)) * rate;
    bool still = !std::isfinite(1 / root_scale);  // a rate of 0, or so small that it moves nothing
    float inverse = still ? -1 : 1 / root_scale, added = still ? -INFINITY : adam.epsilon / rate;
    float *vector = network.vector, *mean = network.mean, *square = network.square;
    float left_1 = 1 - adam.beta_1, left_2 = 1 - adam.beta_2;
    for (int64_t e = 0; e < parameters; ++e) {
      float g = gradient[e] * scale;
      mean[e] += left_1 * (g - mean[e]);
      square[e] = adam.beta_2 * square[e] + left_2 * g * g;
      vector[e] += mean[e] / (std::sqrt(square[e]) * inverse + added);
    }
  }

 private:
  float *zeros, *sums, *delta, *next;  // see start_block

  // Makes `delta` [count, padded(n_layers)] of the rows of a block, which begins at row `begin`; returns their count.
  int64_t start_block(const float* of_outputs, int64_t begin) {
    int64_t widest = 0, largest = 0;
    for (int64_t l = 0; l < network.layers; ++l) {
      widest = std::max(widest, std::max(padded(size(l)), padded(size(l + 1))));
      largest = std::max(largest, (padded(size(l)) + 1) * padded(size(l + 1)));
    }
    zeros = scratch.of<float>((2 * BLOCK + 1) * widest + largest);
    sums = zeros + widest, delta = sums + largest, next = delta + BLOCK * widest;
    std::memset(zeros, 0, widest * sizeof(float));
    int64_t count = std::min(BLOCK, rows - begin), out = size(network.layers), width = padded(out);
    for (int64_t b = 0; b < count; ++b) {
      std::memset(delta + b * width + width - LANES, 0, LANES * sizeof(float));
      std::memcpy(delta + b * width, of_outputs + (begin + b) * out, out * sizeof(float));
    }
    return count;
  }

  // From δ_{l+1} to δ_l, where layers count from 0.
  void descend(int64_t l, int64_t begin, int64_t count) {
    int64_t width = padded(size(l + 1)), in_width = padded(size(l));
    Product{delta, width, 1, straight[l], in_width, zeros, 0, next, in_width}.compute(count, in_width, size(l + 1));
    const float* x = inputs[l] + begin * in_width;
    for (int64_t e = 0; e < count * in_width; e += LANES) {
      Vector y = vector_at(x + e), &d = vector_at(next + e);
      d = network.relu ? (y <= 0 ? Vector{} : d) : d * (1 - y * y);
    }
    std::swap(delta, next);
  }
};

}  // namespace
