#include "gemm.h"

#include <algorithm>

#include "arithmetic.h"

namespace edgekit {

void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedInt8& weights,
              int32_t* sums, int64_t sums_stride) {
  for (int row = 0; row < row_count; ++row) {
    for (int f = 0; f < weights.filters(); ++f) {
      const int8_t* a = rows + row * row_stride;
      const int8_t* w = weights.filter(f);
      int32_t sum = 0;
      for (int d = 0; d < weights.depth(); ++d) sum += a[d] * w[d];
      sums[row * sums_stride + f] = sum;
    }
  }
}

void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedTable& weights,
              int32_t* sums, int64_t sums_stride) {
  for (int row = 0; row < row_count; ++row) {
    for (int f = 0; f < weights.filters(); ++f) {
      const int8_t* a = rows + row * row_stride;
      const int8_t* w = weights.filter(f);
      int32_t sum = 0;
      for (int d = 0; d < weights.depth(); ++d) {
        sum += weights.products()[uint8_t(a[d]) * 256 + uint8_t(w[d])];
      }
      sums[row * sums_stride + f] = sum;
    }
  }
}

void multiply(const float* rows, int row_count, int64_t row_stride, const PackedFloat& weights,
              float* sums, int64_t sums_stride) {
  for (int row = 0; row < row_count; ++row) {
    for (int f = 0; f < weights.filters(); ++f) {
      const float* a = rows + row * row_stride;
      const float* w = weights.filter(f);
      float sum = 0;
      for (int d = 0; d < weights.depth(); ++d) sum += a[d] * w[d];
      sums[row * sums_stride + f] = sum;
    }
  }
}

void requantize(const int32_t* sums, int row_count, int filters, int64_t sums_stride,
                const int32_t* biases, const int32_t* multipliers, const int32_t* shifts,
                int32_t output_zero, int32_t low, int32_t high, int8_t* out, int64_t out_stride) {
  for (int row = 0; row < row_count; ++row) {
    for (int f = 0; f < filters; ++f) {
      const int32_t sum = sums[row * sums_stride + f] + (biases ? biases[f] : 0);
      const int32_t scaled = scale(sum, {multipliers[f], shifts[f]}) + output_zero;
      out[row * out_stride + f] = int8_t(std::clamp(scaled, low, high));
    }
  }
}

const char* kernel_name() { return "plain"; }

}  // namespace edgekit
