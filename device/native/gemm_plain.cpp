// The kernels in standard C++: what the others are compared with, and what runs elsewhere.
#include "gemm_variants.h"

#include <string.h>

namespace edgekit {
namespace {

template <typename Operand>
int64_t packed_count(int filters, int depth) {
  return int64_t{filters} * depth;
}

template <typename Operand>
void pack(const Operand* weights, int filters, int depth, Operand* packed) {
  memcpy(packed, weights, static_cast<size_t>(filters) * depth * sizeof(Operand));
}

template <typename Operand, typename Sum>
void multiply(const Operand* rows, int row_count, int64_t row_stride, const Operand* packed,
              int filters, int depth, bool, Sum* sums, int64_t sums_stride) {
  for (int row = 0; row < row_count; ++row) {
    const Operand* a = rows + row * row_stride;
    for (int filter = 0; filter < filters; ++filter) {
      const Operand* w = packed + int64_t{filter} * depth;
      Sum sum = 0;
      for (int d = 0; d < depth; ++d) sum += static_cast<Sum>(a[d]) * w[d];
      sums[row * sums_stride + filter] = sum;
    }
  }
}

void lookup(const int8_t* rows, int row_count, int64_t row_stride, const int8_t* weights,
            int filters, int depth, const int16_t* sheets, int32_t* sums, int64_t sums_stride) {
  for (int row = 0; row < row_count; ++row) {
    const int8_t* a = rows + row * row_stride;
    for (int filter = 0; filter < filters; ++filter) {
      const int8_t* w = weights + int64_t{filter} * depth;
      int32_t sum = 0;
      for (int d = 0; d < depth; ++d)
        sum += sheets[static_cast<uint8_t>(w[d]) * 256 + static_cast<uint8_t>(a[d])];
      sums[row * sums_stride + filter] = sum;
    }
  }
}

void depthwise(const int8_t* const* taps, int tap_count, int channels, const int16_t* pairs,
               int32_t* sums) {
  memset(sums, 0, static_cast<size_t>(channels) * sizeof(int32_t));
  for (int tap = 0; tap < tap_count; ++tap) {
    const int16_t* w = pairs + int64_t{tap / 2} * channels * 2 + tap % 2;
    for (int c = 0; c < channels; ++c) sums[c] += taps[tap][c] * w[2 * c];
  }
}

void requantize(const int32_t* sums, int row_count, int filters, int64_t sums_stride,
                const int32_t* biases, const int32_t* multipliers, const int32_t* shifts,
                int32_t output_zero, int32_t low, int32_t high, int8_t* out, int64_t out_stride) {
  for (int row = 0; row < row_count; ++row) {
    for (int filter = 0; filter < filters; ++filter) {
      const uint32_t bias = biases ? static_cast<uint32_t>(biases[filter]) : 0;
      const int32_t sum =
          static_cast<int32_t>(static_cast<uint32_t>(sums[row * sums_stride + filter]) + bias);
      int32_t value = scaled(sum, multipliers[filter], shifts[filter]);
      value = static_cast<int32_t>(static_cast<uint32_t>(value) + output_zero);
      value = value < low ? low : value > high ? high : value;
      out[row * out_stride + filter] = static_cast<int8_t>(value);
    }
  }
}

}  // namespace

const Variant kPlain = {
    "plain",
    {packed_count<int8_t>, pack<int8_t>, multiply<int8_t, int32_t>},
    {packed_count<float>, pack<float>, multiply<float, float>},
    lookup,
    nullptr,
    depthwise,
    requantize,
};

}  // namespace edgekit
