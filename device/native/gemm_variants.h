// The kernels of one instruction set, as gemm.cpp calls them. Files that define them include
// nothing with inline code of the standard library: compiled for AVX-512, such code could be the
// copy that the linker keeps for every CPU.
#pragma once

#include <stdint.h>

namespace edgekit {

// Weights are packed in panels of filters; the layout is the variant's own.
template <typename Operand, typename Sum>
struct MatrixKernel {
  int64_t (*packed_count)(int filters, int depth);  // of Operands
  void (*pack)(const Operand* weights, int filters, int depth, Operand* packed);
  // `has_minimum`: some weight is -128 (int8 only).
  void (*multiply)(const Operand* rows, int row_count, int64_t row_stride, const Operand* packed,
                   int filters, int depth, bool has_minimum, Sum* sums, int64_t sums_stride);
};

// Looked-up products that fit 16 bits, in both orders, and the weights of up to kLookupBlock filters
// [depth][index_stride], the stride a multiple of 64.
constexpr int kLookupBlock = 256;
constexpr int kMostLookupSteps = 65536;  // 16-bit products fit a 32-bit sum that often
struct Lookup {
  const int8_t* index;
  int64_t index_stride;
  const uint16_t* by_weight;     // [weight][activation], with an offset of 32768
  const int16_t* by_activation;  // [activation][weight]
};
using LookupKernel = void (*)(const int8_t* rows, int row_count, int64_t row_stride,
                              const Lookup& products, int filters, int depth, int32_t* sums,
                              int64_t sums_stride);

// Looked-up products by byte permutation, 64 outputs at a time: the operands of `vectors` * 64
// outputs (kLookupBlock at most) stand side by side in `index` [steps][vectors * 64]; at each step selectors[step] names the
// table's plane (512 bytes: 256 low bytes, then 256 high bytes). Adds to sums[vectors * 64].
using PermuteKernel = void (*)(const int8_t* index, int vectors, const int8_t* selectors,
                               int steps, const uint8_t* planes, int32_t* sums);

using DepthwiseKernel = void (*)(const int8_t* const* taps, int tap_count, int channels,
                                 const int16_t* pairs, int32_t* sums);

using RequantizeKernel = void (*)(const int32_t* sums, int row_count, int filters,
                                  int64_t sums_stride, const int32_t* biases,
                                  const int32_t* multipliers, const int32_t* shifts,
                                  int32_t output_zero, int32_t low, int32_t high, int8_t* out,
                                  int64_t out_stride);

struct Variant {
  const char* name;
  MatrixKernel<int8_t, int32_t> int8;
  MatrixKernel<float, float> float32;
  LookupKernel lookup;
  PermuteKernel permute;  // null: the CPU has no such instruction
  DepthwiseKernel depthwise;
  RequantizeKernel requantize;
};

Variant plain_variant();
#if defined(__x86_64__)
Variant avx2_variant();
Variant avx512_vnni_variant();
Variant avx512_vbmi_variant();
void lookup_avx512(const int8_t* rows, int row_count, int64_t row_stride, const Lookup& products,
                   int filters, int depth, int32_t* sums, int64_t sums_stride);
void permute_avx512(const int8_t* index, int vectors, const int8_t* selectors, int steps,
                    const uint8_t* planes, int32_t* sums);
#elif defined(__aarch64__)
Variant neon_variant();
Variant neon_dot_variant();
#endif

// Products looked up for few rows, where sheets (see gemm_plain.cpp) do not pay.
void lookup_directly(const int8_t* rows, int row_count, int64_t row_stride, const Lookup& products,
                     int filters, int depth, int32_t* sums, int64_t sums_stride);

// gemmlowp's rounding, as in TFLite: the high half of the doubled product, rounded half up ...
inline int32_t doubled_high_product(int32_t a, int32_t b) {
  if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
  return static_cast<int32_t>((static_cast<int64_t>(a) * b + (int64_t{1} << 30)) >> 31);
}

// ... and a division by 2^exponent, rounded half away from zero.
inline int32_t divide_by_power_of_two(int32_t value, int exponent) {
  const int32_t mask = static_cast<int32_t>((int64_t{1} << exponent) - 1);
  const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
  return (value >> exponent) + ((value & mask) > threshold ? 1 : 0);
}

inline int32_t scaled(int32_t value, int32_t multiplier, int32_t shift) {
  const int left = shift > 0 ? shift : 0;
  const int right = shift > 0 ? 0 : -shift;
  const int32_t moved = static_cast<int32_t>(static_cast<uint32_t>(value) << left);
  return divide_by_power_of_two(doubled_high_product(moved, multiplier), right);
}

}  // namespace edgekit
