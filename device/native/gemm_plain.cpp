// The kernels in standard C++: what the others are compared with, and what runs elsewhere.
#include "gemm_variants.h"

#include <string.h>

#include <new>

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

// Many rows: for eight filters at one depth, their products are laid out as a sheet
// [activation][8 filters], so that a look-up brings eight products at once. Products carry an
// offset and are unsigned; a 32-bit word holds those of filters i (lower half) and i + 4. Words are
// summed whole, and their upper halves again by themselves: the difference is the lower halves' sum.
using Words = uint32_t __attribute__((vector_size(16)));
constexpr int kSheetFilters = 8;
constexpr int kSheetSteps = 8;       // sheets at a time: 32 KiB
constexpr int kRowsForSheets = 128;  // from here on they pay

void build_sheet(const uint16_t* by_weight, const int8_t* weights, uint16_t* __restrict to) {
  const uint16_t* w[kSheetFilters];
  for (int f = 0; f < kSheetFilters; ++f) w[f] = by_weight + static_cast<uint8_t>(weights[f]) * 256;
  const uint16_t *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
  const uint16_t *w4 = w[4], *w5 = w[5], *w6 = w[6], *w7 = w[7];
  for (int a = 0; a < 256; ++a) {  // spelled out, so that compilers interleave whole vectors
    to[8 * a] = w0[a];
    to[8 * a + 1] = w4[a];
    to[8 * a + 2] = w1[a];
    to[8 * a + 3] = w5[a];
    to[8 * a + 4] = w2[a];
    to[8 * a + 5] = w6[a];
    to[8 * a + 6] = w3[a];
    to[8 * a + 7] = w7[a];
  }
}

void add_sheets(const uint16_t* sheets, int steps, const int8_t* a, Words* total) {
  Words both = total[0];
  Words upper = total[1];
  for (int step = 0; step < steps; ++step, sheets += 256 * kSheetFilters) {
    Words found;
    memcpy(&found, sheets + static_cast<uint8_t>(a[step]) * kSheetFilters, sizeof found);
    both += found;
    upper += found >> 16;
  }
  total[0] = both;
  total[1] = upper;
}

void lookup(const int8_t* rows, int row_count, int64_t row_stride, const Lookup& products,
            int filters, int depth, int32_t* sums, int64_t sums_stride) {
  if (row_count < kRowsForSheets || depth > kMostLookupSteps) {
    lookup_directly(rows, row_count, row_stride, products, filters, depth, sums, sums_stride);
    return;
  }
  alignas(64) uint16_t sheets[kSheetSteps * 256 * kSheetFilters];
  auto* totals = new Words[static_cast<size_t>(row_count) * 2];
  for (int first = 0; first < filters; first += kSheetFilters) {
    memset(static_cast<void*>(totals), 0, static_cast<size_t>(row_count) * 2 * sizeof(Words));
    for (int start = 0; start < depth; start += kSheetSteps) {
      const int steps = depth - start < kSheetSteps ? depth - start : kSheetSteps;
      for (int step = 0; step < steps; ++step)
        build_sheet(products.by_weight,
                    products.index + (start + step) * products.index_stride + first,
                    sheets + step * 256 * kSheetFilters);
      for (int row = 0; row < row_count; ++row)
        add_sheets(sheets, steps, rows + row * row_stride + start, totals + 2 * row);
    }
    const int width = filters - first < kSheetFilters ? filters - first : kSheetFilters;
    const uint32_t offset = static_cast<uint32_t>(depth) * 32768;
    for (int row = 0; row < row_count; ++row) {
      const Words halves[2] = {totals[2 * row] - (totals[2 * row + 1] << 16) - offset,
                               totals[2 * row + 1] - offset};
      memcpy(sums + row * sums_stride + first, halves, static_cast<size_t>(width) * 4);
    }
  }
  delete[] totals;
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

// Four depths at a time: four lines of 256 products in the first-level cache, one visit to the sums.
void lookup_directly(const int8_t* rows, int row_count, int64_t row_stride, const Lookup& products,
                     int filters, int depth, int32_t* sums, int64_t sums_stride) {
  for (int row = 0; row < row_count; ++row) {
    const int8_t* a = rows + row * row_stride;
    int32_t* __restrict to = sums + row * sums_stride;
    memset(to, 0, static_cast<size_t>(filters) * sizeof(int32_t));
    for (int d = 0; d < depth; d += 4) {
      const int16_t* line[4];
      const int8_t* w[4];
      const int count = depth - d < 4 ? depth - d : 4;
      for (int i = 0; i < count; ++i) {
        line[i] = products.by_activation + static_cast<uint8_t>(a[d + i]) * 256;
        w[i] = products.index + (d + i) * products.index_stride;
      }
      if (count == 4) {
        for (int f = 0; f < filters; ++f) {
          to[f] += line[0][static_cast<uint8_t>(w[0][f])] + line[1][static_cast<uint8_t>(w[1][f])] +
                   line[2][static_cast<uint8_t>(w[2][f])] + line[3][static_cast<uint8_t>(w[3][f])];
          // Vectors put together from single products would be slower.
          __asm__ volatile("");
        }
      } else {
        for (int i = 0; i < count; ++i)
          for (int f = 0; f < filters; ++f) to[f] += line[i][static_cast<uint8_t>(w[i][f])];
      }
    }
  }
}

Variant plain_variant() {
  return {"plain",
          {packed_count<int8_t>, pack<int8_t>, multiply<int8_t, int32_t>},
          {packed_count<float>, pack<float>, multiply<float, float>},
          lookup,
          nullptr,
          depthwise,
          requantize};
}

}  // namespace edgekit
