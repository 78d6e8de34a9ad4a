// The kernels for AVX2 with FMA.
#include "gemm_variants.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include <new>

#define EDGEKIT_AVX2 __attribute__((target("avx2,fma")))

namespace edgekit {
namespace {

constexpr int kLanes = 8;            // 32-bit lanes of a register
constexpr int kPanel = 2 * kLanes;   // filters side by side; the last panel may be narrower
constexpr int kTileRows = 6;
constexpr int64_t kWideBytes = 256 * 1024;  // of rows widened at a time

int padded(int filters) { return (filters + kLanes - 1) / kLanes * kLanes; }

// VPMADDUBSW would saturate, so both sides are widened to 16 bits: the rows once, into a buffer,
// the weights (half the memory to read) on their way from memory.
int64_t packed_int8(int filters, int depth) {
  return int64_t{padded(filters)} * ((depth + 1) / 2 * 2);
}

// [panel][depth / 2][filter of the panel][2]
void pack_int8(const int8_t* weights, int filters, int depth, int8_t* packed) {
  for (int first = 0; first < filters; first += kPanel) {
    const int width = padded(filters - first < kPanel ? filters - first : kPanel);
    for (int d = 0; d < depth; d += 2)
      for (int f = first; f < first + width; ++f)
        for (int i = d; i < d + 2; ++i)
          *packed++ = f < filters && i < depth ? weights[int64_t{f} * depth + i] : int8_t{0};
  }
}

EDGEKIT_AVX2 void widen(const int8_t* row, int depth, int16_t* wide) {
  int d = 0;
  for (; d + 16 <= depth; d += 16)
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(wide + d),
        _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + d))));
  for (; d < depth; ++d) wide[d] = row[d];
  if (depth % 2) wide[depth] = 0;
}

EDGEKIT_AVX2 inline __m256i eight_pairs(const int8_t* from) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

inline int32_t pair(const int16_t* from) {
  int32_t value;
  memcpy(&value, from, sizeof value);
  return value;
}

// By way of memory only where fewer than eight are wanted: totals shall stay in registers.
EDGEKIT_AVX2 inline void store(__m256i from, int count, int32_t* to) {
  if (count == kLanes) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), from);
  } else {
    alignas(32) int32_t lanes[kLanes];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), from);
    memcpy(to, lanes, static_cast<size_t>(count) * sizeof(int32_t));
  }
}

EDGEKIT_AVX2 inline void store(__m256 from, int count, float* to) {
  if (count == kLanes) {
    _mm256_storeu_ps(to, from);
  } else {
    alignas(32) float lanes[kLanes];
    _mm256_store_ps(lanes, from);
    memcpy(to, lanes, static_cast<size_t>(count) * sizeof(float));
  }
}

// R rows by V * 8 filters.
template <int R, int V>
EDGEKIT_AVX2 void tile_int8(const int16_t* rows, int64_t row_stride, const int8_t* panel, int depth,
                            int last, int32_t* sums, int64_t sums_stride) {
  __m256i total[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) total[r][v] = _mm256_setzero_si256();
  for (int d = 0; d < depth; d += 2, panel += V * 16) {
    __m256i w[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) w[v] = eight_pairs(panel + v * 16);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256i a = _mm256_set1_epi32(pair(rows + r * row_stride + d));
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v)
        total[r][v] = _mm256_add_epi32(total[r][v], _mm256_madd_epi16(a, w[v]));
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      store(total[r][v], v + 1 < V ? kLanes : last, sums + r * sums_stride + v * kLanes);
}

template <int R, int V>
EDGEKIT_AVX2 void tile_float(const float* rows, int64_t row_stride, const float* panel, int depth,
                             int last, float* sums, int64_t sums_stride) {
  __m256 total[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) total[r][v] = _mm256_setzero_ps();
  for (int d = 0; d < depth; ++d, panel += V * kLanes) {
    __m256 w[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) w[v] = _mm256_loadu_ps(panel + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256 a = _mm256_set1_ps(rows[r * row_stride + d]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) total[r][v] = _mm256_fmadd_ps(a, w[v], total[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v)
      store(total[r][v], v + 1 < V ? kLanes : last, sums + r * sums_stride + v * kLanes);
}

// Six rows at a time, then the rest in ever smaller steps.
#define EDGEKIT_COLUMN(tile, V)                                                            \
  do {                                                                                     \
    int row = 0;                                                                           \
    for (; row + kTileRows <= row_count; row += kTileRows)                                 \
      tile<kTileRows, V>(rows + row * row_stride, row_stride, panel, depth, last,          \
                         sums + row * sums_stride, sums_stride);                           \
    for (; row + 2 <= row_count; row += 2)                                                 \
      tile<2, V>(rows + row * row_stride, row_stride, panel, depth, last,                  \
                 sums + row * sums_stride, sums_stride);                                   \
    for (; row < row_count; ++row)                                                         \
      tile<1, V>(rows + row * row_stride, row_stride, panel, depth, last,                  \
                 sums + row * sums_stride, sums_stride);                                   \
  } while (0)

EDGEKIT_AVX2 void column_int8(const int16_t* rows, int row_count, int64_t row_stride,
                              const int8_t* panel, int width, int depth, int32_t* sums,
                              int64_t sums_stride) {
  const int last = (width - 1) % kLanes + 1;
  if (width > kLanes) EDGEKIT_COLUMN(tile_int8, 2);
  else EDGEKIT_COLUMN(tile_int8, 1);
}

EDGEKIT_AVX2 void column_float(const float* rows, int row_count, int64_t row_stride,
                               const float* panel, int width, int depth, float* sums,
                               int64_t sums_stride) {
  const int last = (width - 1) % kLanes + 1;
  if (width > kLanes) EDGEKIT_COLUMN(tile_float, 2);
  else EDGEKIT_COLUMN(tile_float, 1);
}

void multiply_int8(const int8_t* rows, int row_count, int64_t row_stride, const int8_t* packed,
                   int filters, int depth, bool, int32_t* sums, int64_t sums_stride) {
  const int even = (depth + 1) / 2 * 2;
  const int64_t fitting = kWideBytes / (2 * int64_t{even}) / kTileRows * kTileRows;
  int block = row_count;
  if (fitting < block) block = fitting < kTileRows ? kTileRows : static_cast<int>(fitting);
  auto* wide = new int16_t[static_cast<size_t>(block) * even];
  for (int start = 0; start < row_count; start += block) {
    const int count = row_count - start < block ? row_count - start : block;
    for (int row = 0; row < count; ++row)
      widen(rows + (start + row) * row_stride, depth, wide + int64_t{row} * even);
    for (int first = 0; first < filters; first += kPanel) {
      const int width = filters - first < kPanel ? filters - first : kPanel;
      column_int8(wide, count, even, packed + int64_t{first} * even, width, even,
                  sums + start * sums_stride + first, sums_stride);
    }
  }
  delete[] wide;
}

int64_t packed_float(int filters, int depth) { return int64_t{padded(filters)} * depth; }

// [panel][depth][filter of the panel]
void pack_float(const float* weights, int filters, int depth, float* packed) {
  for (int first = 0; first < filters; first += kPanel) {
    const int width = padded(filters - first < kPanel ? filters - first : kPanel);
    for (int d = 0; d < depth; ++d)
      for (int f = first; f < first + width; ++f)
        *packed++ = f < filters ? weights[int64_t{f} * depth + d] : 0.0f;
  }
}

void multiply_float(const float* rows, int row_count, int64_t row_stride, const float* packed,
                    int filters, int depth, bool, float* sums, int64_t sums_stride) {
  for (int first = 0; first < filters; first += kPanel) {
    const int width = filters - first < kPanel ? filters - first : kPanel;
    column_float(rows, row_count, row_stride, packed + int64_t{first} * depth, width, depth,
                 sums + first, sums_stride);
  }
}

// Sheets as in gemm_plain.cpp, sixteen filters wide: i in the lower halves of words, i + 8 in the
// upper.
constexpr int kSheetFilters = 16;
constexpr int kSheetSteps = 8;
constexpr int kRowsForSheets = 96;

EDGEKIT_AVX2 void build_sheet(const uint16_t* by_weight, const int8_t* weights, uint16_t* sheet) {
  const __m128i* w[kSheetFilters];
  for (int f = 0; f < kSheetFilters; ++f)
    w[f] = reinterpret_cast<const __m128i*>(by_weight + static_cast<uint8_t>(weights[f]) * 256);
  auto* to = reinterpret_cast<__m256i*>(sheet);
  for (int a = 0; a < 256 / 8; ++a, to += 8) {
    // Filters 0..3 (with 8..11) in the lower halves, 4..7 (with 12..15) in the upper.
    const auto both = [&](int f) EDGEKIT_AVX2 {
      return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_load_si128(w[f] + a)),
                                     _mm_load_si128(w[f + 4] + a), 1);
    };
    __m256i pairs[8], fours[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256i lower = both(i);
      const __m256i upper = both(i + 8);
      pairs[i] = _mm256_unpacklo_epi16(lower, upper);
      pairs[i + 4] = _mm256_unpackhi_epi16(lower, upper);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      fours[2 * i] = _mm256_unpacklo_epi32(pairs[2 * i], pairs[2 * i + 1]);
      fours[2 * i + 1] = _mm256_unpackhi_epi32(pairs[2 * i], pairs[2 * i + 1]);
    }
    // fours: 0, 1: words 0 and 1 of activations 0..3; 2, 3: words 2 and 3; 4..7: activations 4..7.
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      _mm256_store_si256(to + 4 * i, _mm256_unpacklo_epi64(fours[4 * i], fours[4 * i + 2]));
      _mm256_store_si256(to + 4 * i + 1, _mm256_unpackhi_epi64(fours[4 * i], fours[4 * i + 2]));
      _mm256_store_si256(to + 4 * i + 2, _mm256_unpacklo_epi64(fours[4 * i + 1], fours[4 * i + 3]));
      _mm256_store_si256(to + 4 * i + 3, _mm256_unpackhi_epi64(fours[4 * i + 1], fours[4 * i + 3]));
    }
  }
}

EDGEKIT_AVX2 inline void add_sheets(const uint16_t* sheets, int steps, const int8_t* a,
                                    __m256i* total) {
  __m256i both = total[0];
  __m256i upper = total[1];
#pragma GCC unroll 8
  for (int step = 0; step < steps; ++step, sheets += 256 * kSheetFilters) {
    const __m256i found = _mm256_load_si256(reinterpret_cast<const __m256i*>(
        sheets + static_cast<uint8_t>(a[step]) * kSheetFilters));
    both = _mm256_add_epi32(both, found);
    upper = _mm256_add_epi32(upper, _mm256_srli_epi32(found, 16));
  }
  total[0] = both;
  total[1] = upper;
}

EDGEKIT_AVX2 void lookup(const int8_t* rows, int row_count, int64_t row_stride,
                         const Lookup& products, int filters, int depth, int32_t* sums,
                         int64_t sums_stride) {
  if (row_count < kRowsForSheets || depth > kMostLookupSteps) {
    lookup_directly(rows, row_count, row_stride, products, filters, depth, sums, sums_stride);
    return;
  }
  alignas(64) uint16_t sheets[kSheetSteps * 256 * kSheetFilters];
  auto* totals = new __m256i[static_cast<size_t>(row_count) * 2];
  for (int first = 0; first < filters; first += kSheetFilters) {
    memset(static_cast<void*>(totals), 0, static_cast<size_t>(row_count) * 2 * sizeof(__m256i));
    for (int start = 0; start < depth; start += kSheetSteps) {
      const int steps = depth - start < kSheetSteps ? depth - start : kSheetSteps;
      for (int step = 0; step < steps; ++step)
        build_sheet(products.by_weight,
                    products.index + (start + step) * products.index_stride + first,
                    sheets + step * 256 * kSheetFilters);
      const int8_t* a = rows + start;
      if (steps == kSheetSteps)
        for (int row = 0; row < row_count; ++row, a += row_stride)
          add_sheets(sheets, kSheetSteps, a, totals + 2 * row);
      else
        for (int row = 0; row < row_count; ++row, a += row_stride)
          add_sheets(sheets, steps, a, totals + 2 * row);
    }
    const int width = filters - first < kSheetFilters ? filters - first : kSheetFilters;
    const __m256i offset = _mm256_set1_epi32(static_cast<int32_t>(static_cast<uint32_t>(depth) << 15));
    for (int row = 0; row < row_count; ++row) {
      int32_t* to = sums + row * sums_stride + first;
      const __m256i upper = totals[2 * row + 1];
      const __m256i lower = _mm256_sub_epi32(totals[2 * row], _mm256_slli_epi32(upper, 16));
      store(_mm256_sub_epi32(lower, offset), width < kLanes ? width : kLanes, to);
      if (width > kLanes) store(_mm256_sub_epi32(upper, offset), width - kLanes, to + kLanes);
    }
  }
  delete[] totals;
}

EDGEKIT_AVX2 void depthwise(const int8_t* const* taps, int tap_count, int channels,
                            const int16_t* pairs, int32_t* sums) {
  const auto sixteen = [](const int8_t* from) EDGEKIT_AVX2 {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  };
  int c = 0;
  for (; c + 16 <= channels; c += 16) {
    __m256i low = _mm256_setzero_si256();
    __m256i high = low;
    for (int tap = 0; tap < tap_count; tap += 2) {
      const __m128i one = sixteen(taps[tap] + c);
      const __m128i other = tap + 1 < tap_count ? sixteen(taps[tap + 1] + c) : _mm_setzero_si128();
      const auto* w = reinterpret_cast<const __m256i*>(
          pairs + (int64_t{tap / 2} * channels + c) * 2);
      low = _mm256_add_epi32(
          low, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(one, other)),
                                 _mm256_loadu_si256(w)));
      high = _mm256_add_epi32(
          high, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_unpackhi_epi8(one, other)),
                                  _mm256_loadu_si256(w + 1)));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + c), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + c + 8), high);
  }
  for (; c < channels; ++c) {
    int32_t sum = 0;
    for (int tap = 0; tap < tap_count; ++tap)
      sum += taps[tap][c] * pairs[(int64_t{tap / 2} * channels + c) * 2 + tap % 2];
    sums[c] = sum;
  }
}

// Eight filters, of which the first `width` exist; all eight if Whole.
template <bool Whole>
EDGEKIT_AVX2 void requantize_eight(const int32_t* sums, int row_count, int width,
                                   int64_t sums_stride, const int32_t* biases,
                                   const int32_t* multipliers, const int32_t* shifts,
                                   int32_t output_zero, int32_t low, int32_t high, int8_t* out,
                                   int64_t out_stride) {
  const __m256i lanes = _mm256_cmpgt_epi32(_mm256_set1_epi32(width),
                                           _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  const auto load = [&](const int32_t* from) EDGEKIT_AVX2 {
    return Whole ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))
                 : _mm256_maskload_epi32(from, lanes);
  };
  const __m256i zero = _mm256_setzero_si256();
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i nudge = _mm256_set1_epi64x(1 << 30);
  const __m256i bias = biases ? load(biases) : zero;
  const __m256i multiplier = load(multipliers);
  const __m256i odd_multiplier = _mm256_srli_epi64(multiplier, 32);
  const __m256i shift = load(shifts);
  const __m256i left = _mm256_max_epi32(shift, zero);
  const __m256i right = _mm256_max_epi32(_mm256_sub_epi32(zero, shift), zero);
  const __m256i mask = _mm256_sub_epi32(_mm256_sllv_epi32(one, right), one);
  const __m256i half = _mm256_srli_epi32(mask, 1);
  for (int row = 0; row < row_count; ++row, sums += sums_stride, out += out_stride) {
    __m256i value = _mm256_sllv_epi32(_mm256_add_epi32(load(sums), bias), left);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(value, multiplier), nudge);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(value, 32), odd_multiplier), nudge);
    value = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
    const __m256i remainder = _mm256_and_si256(value, mask);
    const __m256i threshold = _mm256_sub_epi32(half, _mm256_srai_epi32(value, 31));
    const __m256i up = _mm256_cmpgt_epi32(remainder, threshold);
    value = _mm256_sub_epi32(_mm256_srav_epi32(value, right), up);
    value = _mm256_add_epi32(value, _mm256_set1_epi32(output_zero));
    value = _mm256_min_epi32(_mm256_max_epi32(value, _mm256_set1_epi32(low)),
                             _mm256_set1_epi32(high));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value),
                                          _mm256_extracti128_si256(value, 1));
    const int64_t bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words));
    memcpy(out, &bytes, Whole ? sizeof bytes : static_cast<size_t>(width));
  }
}

void requantize(const int32_t* sums, int row_count, int filters, int64_t sums_stride,
                const int32_t* biases, const int32_t* multipliers, const int32_t* shifts,
                int32_t output_zero, int32_t low, int32_t high, int8_t* out, int64_t out_stride) {
  for (int first = 0; first < filters; first += kLanes) {
    const int width = filters - first;
    const auto run = width >= kLanes ? requantize_eight<true> : requantize_eight<false>;
    run(sums + first, row_count, width, sums_stride, biases ? biases + first : nullptr,
        multipliers + first, shifts + first, output_zero, low, high, out + first, out_stride);
  }
}

}  // namespace

Variant avx2_variant() {
  return {"avx2",
          {packed_int8, pack_int8, multiply_int8},
          {packed_float, pack_float, multiply_float},
          lookup,
          nullptr,
          depthwise,
          requantize};
}

}  // namespace edgekit
#endif
