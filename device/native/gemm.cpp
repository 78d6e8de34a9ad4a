// Choice of the kernels, packing, and the parts of a convolution that no instruction set speeds up.
#include "gemm.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

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

#if defined(__x86_64__)
// The registers that the system saves for us, from XGETBV; 0 where it saves none.
uint32_t saved_registers() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
  uint32_t low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

std::vector<Variant> found_variants() {
  constexpr uint32_t kYmm = 0x06, kZmm = 0xE6;
  std::vector<Variant> found;
  const uint32_t saved = saved_registers();
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    const bool fma = c & bit_FMA;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (saved & kYmm) == kYmm && fma &&
        (b & bit_AVX2)) {
      constexpr uint32_t kAvx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
      constexpr uint32_t kVnni = 1u << 11, kVbmi = 1u << 1;
      if ((saved & kZmm) == kZmm && (b & kAvx512) == kAvx512 && (c & kVnni)) {
        if (c & kVbmi) found.push_back(avx512_vbmi_variant());
        found.push_back(avx512_vnni_variant());
      }
      found.push_back(avx2_variant());
    }
  }
  found.push_back(plain_variant());
  return found;
}
#elif defined(__aarch64__)
std::vector<Variant> found_variants() {
  constexpr unsigned long kDotProduct = 1ul << 20;  // HWCAP_ASIMDDP
  if (getauxval(AT_HWCAP) & kDotProduct) return {neon_dot_variant(), neon_variant(), plain_variant()};
  return {neon_variant(), plain_variant()};
}
#else
std::vector<Variant> found_variants() { return {plain_variant()}; }
#endif

const std::vector<Variant>& variants() {
  static const std::vector<Variant> found = found_variants();
  return found;
}

std::atomic<const Variant*> chosen{nullptr};

const Variant& variant() {
  const Variant* current = chosen.load(std::memory_order_acquire);
  return current ? *current : variants().front();
}

// The table in 16 bits with an offset of 32768, [weight][activation].
std::shared_ptr<uint16_t> by_weight(const ProductTable& products) {
  auto found = aligned<uint16_t>(static_cast<int64_t>(products.size()));
  for (int w = 0; w < 256; ++w)
    for (int a = 0; a < 256; ++a)
      found.get()[w * 256 + a] = static_cast<uint16_t>(products[a * 256 + w] + 32768);
  return found;
}

// The table split into low bytes and high bytes, [activation][low, high byte][weight].
std::shared_ptr<uint8_t> planes(const ProductTable& products) {
  auto found = aligned<uint8_t>(static_cast<int64_t>(products.size()) * 2);
  for (int a = 0; a < 256; ++a)
    for (int w = 0; w < 256; ++w) {
      const int32_t value = products[a * 256 + w] + 32768;
      found.get()[a * 512 + w] = static_cast<uint8_t>(value);
      found.get()[a * 512 + 256 + w] = static_cast<uint8_t>(value >> 8);
    }
  return found;
}

// Filters stand in blocks of kLookupBlock, the last one padded to whole vectors of bytes.
constexpr int kVectorBytes = 64;

int padded_width(int count) {
  return (std::min(count, kLookupBlock) + kVectorBytes - 1) / kVectorBytes * kVectorBytes;
}

// From here on sheets (see gemm_plain.cpp) are faster than permutation of bytes.
constexpr int kRowsForSheets = 480;

// A row's activations choose the planes, the filters of a block stand side by side.
void permute(const int8_t* rows, int row_count, int64_t row_stride, const int8_t* index,
             const uint8_t* planes, PermuteKernel kernel, int width, int depth, int32_t* sums,
             int64_t sums_stride) {
  int32_t found[kLookupBlock];
  for (int row = 0; row < row_count; ++row) {
    std::fill_n(found, kLookupBlock, 0);
    kernel(index, padded_width(width) / kVectorBytes, rows + row * row_stride, depth, planes,
           found);
    std::copy_n(found, width, sums + row * sums_stride);
  }
}

}  // namespace

const char* const* kernel_names() {
  static const std::vector<const char*> names = [] {
    std::vector<const char*> all;
    for (const Variant& each : variants()) all.push_back(each.name);
    all.push_back(nullptr);
    return all;
  }();
  return names.data();
}

const char* kernel_name() { return variant().name; }

bool use_kernels(const char* name) {
  for (const Variant& each : variants()) {
    if (strcmp(name, "auto") && strcmp(name, each.name)) continue;
    chosen.store(&each, std::memory_order_release);
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
      weight_sums_(sums_of(weights, filters, depth)) {
  const auto [least, most] = std::minmax_element(products.begin(), products.end());
  if (*least < INT16_MIN || *most > INT16_MAX) {
    weights_.assign(weights, weights + int64_t{filters} * depth);
    wide_products_.resize(products.size());
    for (int w = 0; w < 256; ++w)
      for (int a = 0; a < 256; ++a) wide_products_[w * 256 + a] = products[a * 256 + w];
    return;
  }
  const int64_t padded = filters / kLookupBlock * kLookupBlock +
                         int64_t{padded_width(filters % kLookupBlock)};
  auto index = aligned<int8_t>(padded * depth);
  for (int first = 0; first < filters; first += kLookupBlock) {
    const int64_t stride = padded_width(filters - first);
    int8_t* to = index.get() + int64_t{first} * depth;
    for (int f = 0; f < std::min(filters - first, kLookupBlock); ++f)
      for (int d = 0; d < depth; ++d)
        to[d * stride + f] = weights[int64_t{first + f} * depth + d];
  }
  index_ = std::move(index);
  if (variant_->permute) planes_ = planes(products);
  by_weight_ = by_weight(products);
  auto lines = aligned<int16_t>(static_cast<int64_t>(products.size()));
  std::transform(products.begin(), products.end(), lines.get(),
                 [](int32_t product) { return static_cast<int16_t>(product); });
  by_activation_ = std::move(lines);
}

void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedTable& weights,
              int32_t* sums, int64_t sums_stride) {
  const int filters = weights.filters_;
  const int depth = weights.depth_;
  if (!weights.wide_products_.empty()) {
    for (int row = 0; row < row_count; ++row) {
      const int8_t* a = rows + row * row_stride;
      for (int filter = 0; filter < filters; ++filter) {
        const int8_t* w = weights.weights_.data() + int64_t{filter} * depth;
        uint32_t sum = 0;
        for (int d = 0; d < depth; ++d)
          sum += weights.wide_products_[static_cast<uint8_t>(w[d]) * 256 +
                                        static_cast<uint8_t>(a[d])];
        sums[row * sums_stride + filter] = static_cast<int32_t>(sum);
      }
    }
    return;
  }
  const Variant& kernels = *weights.variant_;
  for (int first = 0; first < filters; first += kLookupBlock) {
    const int width = std::min(filters - first, kLookupBlock);
    const int8_t* index = weights.index_.get() + int64_t{first} * depth;
    if (kernels.permute && row_count < kRowsForSheets) {
      permute(rows, row_count, row_stride, index, weights.planes_.get(), kernels.permute, width,
              depth, sums + first, sums_stride);
    } else {
      const Lookup products = {index, padded_width(width), weights.by_weight_.get(),
                               weights.by_activation_.get()};
      kernels.lookup(rows, row_count, row_stride, products, width, depth, sums + first,
                     sums_stride);
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
  // The kernels run down columns: a few rows at a time, so that lines of memory are met once.
  constexpr int kRows = 16;
  const RequantizeKernel kernel = variant().requantize;
  for (int row = 0; row < row_count; row += kRows)
    kernel(sums + row * sums_stride, std::min(row_count - row, kRows), filters, sums_stride, biases,
           multipliers, shifts, output_zero, low, high, out + row * out_stride, out_stride);
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
