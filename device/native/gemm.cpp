// Choice of the kernels, packing, and the parts of a convolution that no instruction set speeds up.
#include "gemm.h"

#include <string.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include "gemm_variants.h"

namespace edgekit {
namespace {

constexpr size_t kAlignment = 64;  // of a cache line and of an AVX-512 register

template <typename T>
std::shared_ptr<T> aligned(int64_t count) {
  const auto bytes = static_cast<size_t>(count) * sizeof(T) + kAlignment;
  void* memory = ::operator new(bytes, std::align_val_t{kAlignment});
  memset(memory, 0, bytes);
  return std::shared_ptr<T>(static_cast<T*>(memory), [](T* freed) {
    ::operator delete(freed, std::align_val_t{kAlignment});
  });
}

std::vector<int32_t> sums_of(const int8_t* weights, int filters, int depth) {
  std::vector<int32_t> sums(filters);
  for (int filter = 0; filter < filters; ++filter)
    for (int d = 0; d < depth; ++d) sums[filter] += weights[int64_t{filter} * depth + d];
  return sums;
}

const Variant* const* variants() {
  static const Variant* const found[] = {&kPlain, nullptr};
  return found;
}

std::atomic<const Variant*> chosen{nullptr};

const Variant& variant() {
  const Variant* current = chosen.load(std::memory_order_acquire);
  return current ? *current : **variants();
}

}  // namespace

const char* const* kernel_names() {
  static const std::vector<const char*> names = [] {
    std::vector<const char*> all;
    for (auto each = variants(); *each; ++each) all.push_back((*each)->name);
    all.push_back(nullptr);
    return all;
  }();
  return names.data();
}

const char* kernel_name() { return variant().name; }

bool use_kernels(const char* name) {
  if (!strcmp(name, "auto")) {
    chosen.store(*variants(), std::memory_order_release);
    return true;
  }
  for (auto each = variants(); *each; ++each) {
    if (strcmp(name, (*each)->name)) continue;
    chosen.store(*each, std::memory_order_release);
    return true;
  }
  return false;
}

PackedInt8::PackedInt8(const int8_t* weights, int filters, int depth)
    : variant_(&variant()),
      filters_(filters),
      depth_(depth),
      has_minimum_(std::find(weights, weights + int64_t{filters} * depth, int8_t{-128}) !=
                   weights + int64_t{filters} * depth),
      weight_sums_(sums_of(weights, filters, depth)) {
  auto panels = aligned<int8_t>(variant_->int8.packed_count(filters, depth));
  variant_->int8.pack(weights, filters, depth, panels.get());
  panels_ = std::move(panels);
}

void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedInt8& weights,
              int32_t* sums, int64_t sums_stride) {
  weights.variant_->int8.multiply(rows, row_count, row_stride, weights.panels_.get(),
                                  weights.filters_, weights.depth_, weights.has_minimum_, sums,
                                  sums_stride);
}

PackedFloat::PackedFloat(const float* weights, int filters, int depth)
    : variant_(&variant()), filters_(filters), depth_(depth) {
  auto panels = aligned<float>(variant_->float32.packed_count(filters, depth));
  variant_->float32.pack(weights, filters, depth, panels.get());
  panels_ = std::move(panels);
}

void multiply(const float* rows, int row_count, int64_t row_stride, const PackedFloat& weights,
              float* sums, int64_t sums_stride) {
  weights.variant_->float32.multiply(rows, row_count, row_stride, weights.panels_.get(),
                                     weights.filters_, weights.depth_, false, sums, sums_stride);
}

PackedTable::PackedTable(const int8_t* weights, int filters, int depth,
                         const ProductTable& products)
    : variant_(&variant()),
      filters_(filters),
      depth_(depth),
      weight_sums_(sums_of(weights, filters, depth)),
      weights_(weights, weights + int64_t{filters} * depth) {
  const auto [least, most] = std::minmax_element(products.begin(), products.end());
  const bool fits = *least >= INT16_MIN && *most <= INT16_MAX;
  if (!fits) {
    by_weight_.resize(products.size());
    for (int w = 0; w < 256; ++w)
      for (int a = 0; a < 256; ++a) by_weight_[w * 256 + a] = products[a * 256 + w];
    return;
  }
  auto sheets = aligned<int16_t>(products.size());
  for (int w = 0; w < 256; ++w)
    for (int a = 0; a < 256; ++a)
      sheets.get()[w * 256 + a] = static_cast<int16_t>(products[a * 256 + w]);
  by_weight16_ = std::move(sheets);
}

void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedTable& weights,
              int32_t* sums, int64_t sums_stride) {
  if (weights.by_weight16_) {
    weights.variant_->lookup(rows, row_count, row_stride, weights.weights_.data(),
                             weights.filters_, weights.depth_, weights.by_weight16_.get(), sums,
                             sums_stride);
    return;
  }
  for (int row = 0; row < row_count; ++row) {
    const int8_t* a = rows + row * row_stride;
    for (int filter = 0; filter < weights.filters_; ++filter) {
      const int8_t* w = weights.weights_.data() + int64_t{filter} * weights.depth_;
      uint32_t sum = 0;
      for (int d = 0; d < weights.depth_; ++d)
        sum += weights.by_weight_[static_cast<uint8_t>(w[d]) * 256 + static_cast<uint8_t>(a[d])];
      sums[row * sums_stride + filter] = static_cast<int32_t>(sum);
    }
  }
}

PackedDepthwise::PackedDepthwise(const int8_t* weights, int taps, int channels,
                                 const ProductTable* products)
    : variant_(&variant()),
      taps_(taps),
      channels_(channels),
      weight_sums_(channels),
      weights_(weights, weights + int64_t{taps} * channels) {
  auto pairs = aligned<int16_t>(int64_t{(taps + 1) / 2} * channels * 2);
  for (int tap = 0; tap < taps; ++tap) {
    for (int c = 0; c < channels; ++c) {
      const int8_t w = weights[int64_t{tap} * channels + c];
      weight_sums_[c] += w;
      pairs.get()[(int64_t{tap / 2} * channels + c) * 2 + tap % 2] = w;
    }
  }
  pairs_ = std::move(pairs);
  if (products) products_.assign(products->begin(), products->end());
}

void multiply(const int8_t* const* taps, const PackedDepthwise& weights, int32_t* sums) {
  const int channels = weights.channels_;
  if (weights.products_.empty()) {
    weights.variant_->depthwise(taps, weights.taps_, channels, weights.pairs_.get(), sums);
    return;
  }
  memset(sums, 0, static_cast<size_t>(channels) * sizeof(int32_t));
  for (int tap = 0; tap < weights.taps_; ++tap) {
    const int8_t* w = weights.weights_.data() + int64_t{tap} * channels;
    for (int c = 0; c < channels; ++c)
      sums[c] += weights.products_[static_cast<uint8_t>(taps[tap][c]) * 256 +
                                   static_cast<uint8_t>(w[c])];
  }
}

int32_t multiply_by_quantized_multiplier(int32_t value, int32_t multiplier, int32_t shift) {
  return scaled(value, multiplier, shift);
}

void requantize(const int32_t* sums, int row_count, int filters, int64_t sums_stride,
                const int32_t* biases, const int32_t* multipliers, const int32_t* shifts,
                int32_t output_zero, int32_t low, int32_t high, int8_t* out, int64_t out_stride) {
  variant().requantize(sums, row_count, filters, sums_stride, biases, multipliers, shifts,
                       output_zero, low, high, out, out_stride);
}

void round_to_bits(const int8_t* in, int64_t count, int bits, int8_t* out) {
  // In int8, so that compilers take whole vectors: q + half may only leave the range at the top.
  const int step = 1 << (8 - bits);
  const auto highest = static_cast<int8_t>(128 - step);
  const auto half = static_cast<int8_t>(step / 2);
  const auto kept = static_cast<int8_t>(-step);
  for (int64_t i = 0; i < count; ++i) {
    const int8_t bounded = in[i] < highest ? in[i] : highest;
    out[i] = static_cast<int8_t>((bounded + half) & kept);
  }
}

}  // namespace edgekit
