// The kernels for AVX-512 with VNNI; those for looked-up products are in gemm_avx512_lookup.cpp.
#include "gemm_variants.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include <new>

#ifndef __clang__  // GCC 12 warns of its own headers' undefined registers
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define EDGEKIT_AVX512 \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")))

namespace edgekit {
namespace {

constexpr int kLanes = 16;               // 32-bit lanes of a register
constexpr int kPanel = 4 * kLanes;       // filters side by side; the last panel may be narrower
constexpr int kRowsOfSums = 256;         // rows whose sums are kept at a time

int padded(int filters) { return (filters + kLanes - 1) / kLanes * kLanes; }

__mmask16 first_lanes(int count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xFFFF : (1 << count) - 1);
}

// VPDPBUSD multiplies unsigned by signed bytes. The weights take the offset, so that the
// activations are broadcast from where they lie: sum a*w = sum a*(w + 128) - 128 * sum a.
int64_t packed_int8(int filters, int depth) {
  return int64_t{padded(filters)} * ((depth + 3) / 4 * 4);
}

// [panel][depth / 4][filter of the panel][4]; beyond the depth weights are 0 after the offset.
void pack_int8(const int8_t* weights, int filters, int depth, int8_t* packed) {
  const int steps = (depth + 3) / 4;
  for (int first = 0; first < filters; first += kPanel) {
    const int width = padded(filters - first < kPanel ? filters - first : kPanel);
    for (int step = 0; step < steps; ++step)
      for (int f = first; f < first + width; ++f)
        for (int d = 4 * step; d < 4 * step + 4; ++d)
          *packed++ = f < filters && d < depth
                          ? static_cast<int8_t>(weights[int64_t{f} * depth + d] ^ 0x80)
                          : int8_t{0};
  }
}

EDGEKIT_AVX512 int32_t sum_of(const int8_t* row, int depth) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sum = _mm512_setzero_si512();
  int d = 0;
  for (; d + 64 <= depth; d += 64)
    sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(row + d));
  if (d < depth)
    sum = _mm512_dpbusd_epi32(
        sum, ones, _mm512_maskz_loadu_epi8((__mmask64{1} << (depth - d)) - 1, row + d));
  return _mm512_reduce_add_epi32(sum);
}

inline int32_t four(const int8_t* from) {
  int32_t value;
  memcpy(&value, from, sizeof value);
  return value;
}

// VPDPBUSD; GCC 12 copies the total to and fro around the intrinsic, at half the speed.
EDGEKIT_AVX512 inline void add_dot(__m512i& total, __m512i w, __m512i a) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(total) : "v"(w), "v"(a));
}

// R rows by V * 16 filters; the depth is a multiple of 4.
template <int R, int V>
EDGEKIT_AVX512 void tile_int8(const int8_t* rows, int64_t row_stride, const int8_t* panel,
                              int depth, const int32_t* row_sums, __mmask16 last, int32_t* sums,
                              int64_t sums_stride) {
  __m512i total[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) total[r][v] = _mm512_setzero_si512();
  for (int d = 0; d < depth; d += 4, panel += V * 64) {
    __m512i w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = _mm512_loadu_si512(panel + v * 64);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const __m512i a = _mm512_set1_epi32(four(rows + r * row_stride + d));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) add_dot(total[r][v], w[v], a);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
    const __m512i offset = _mm512_set1_epi32(row_sums[r] * 128);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      _mm512_mask_storeu_epi32(sums + r * sums_stride + v * kLanes,
                               v + 1 < V ? __mmask16{0xFFFF} : last,
                               _mm512_sub_epi32(total[r][v], offset));
  }
}

// `Most` rows at a time, then the rest in ever smaller steps.
template <int V, int Most>
EDGEKIT_AVX512 void column_int8(const int8_t* rows, int row_count, int64_t row_stride,
                                const int8_t* panel, int depth, const int32_t* row_sums,
                                __mmask16 last, int32_t* sums, int64_t sums_stride) {
  int row = 0;
  const auto step = [&](auto tile, int count) {
    for (; row + count <= row_count; row += count)
      tile(rows + row * row_stride, row_stride, panel, depth, row_sums + row, last,
           sums + row * sums_stride, sums_stride);
  };
  step(tile_int8<Most, V>, Most);
  step(tile_int8<4, V>, 4);
  step(tile_int8<2, V>, 2);
  step(tile_int8<1, V>, 1);
}

EDGEKIT_AVX512 void multiply_int8(const int8_t* rows, int row_count, int64_t row_stride,
                                  const int8_t* packed, int filters, int depth, bool,
                                  int32_t* sums, int64_t sums_stride) {
  int32_t row_sums[kRowsOfSums];
  const int whole = (depth + 3) / 4 * 4;
  const int block = row_count < kRowsOfSums ? row_count : kRowsOfSums;
  // Rows that do not end on whole steps are copied to where they do.
  int8_t* copies = depth < whole ? new int8_t[static_cast<size_t>(block) * whole]() : nullptr;
  for (int start = 0; start < row_count; start += block) {
    const int count = row_count - start < block ? row_count - start : block;
    const int8_t* from = rows + start * row_stride;
    int64_t stride = row_stride;
    int32_t* to = sums + start * sums_stride;
    for (int row = 0; row < count; ++row) row_sums[row] = sum_of(from + row * row_stride, depth);
    if (copies) {
      for (int row = 0; row < count; ++row)
        memcpy(copies + int64_t{row} * whole, from + row * row_stride, static_cast<size_t>(depth));
      from = copies;
      stride = whole;
    }
    for (int first = 0; first < filters; first += kPanel) {
      const int width = filters - first;
      const int8_t* panel = packed + int64_t{first} * whole;
      const __mmask16 last = first_lanes(width > kPanel ? kLanes : (width - 1) % kLanes + 1);
      const auto run = [&](auto column) {
        column(from, count, stride, panel, whole, row_sums, last, to + first, sums_stride);
      };
      if (width > 3 * kLanes) run(column_int8<4, 6>);
      else if (width > 2 * kLanes) run(column_int8<3, 8>);
      else if (width > kLanes) run(column_int8<2, 12>);
      else run(column_int8<1, 12>);
    }
  }
  delete[] copies;
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

template <int R, int V>
EDGEKIT_AVX512 void tile_float(const float* rows, int64_t row_stride, const float* panel, int depth,
                               __mmask16 last, float* sums, int64_t sums_stride) {
  __m512 total[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) total[r][v] = _mm512_setzero_ps();
  for (int d = 0; d < depth; ++d, panel += V * kLanes) {
    __m512 w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = _mm512_loadu_ps(panel + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const __m512 a = _mm512_set1_ps(rows[r * row_stride + d]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) total[r][v] = _mm512_fmadd_ps(a, w[v], total[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      _mm512_mask_storeu_ps(sums + r * sums_stride + v * kLanes,
                            v + 1 < V ? __mmask16{0xFFFF} : last, total[r][v]);
}

template <int V, int Most>
EDGEKIT_AVX512 void column_float(const float* rows, int row_count, int64_t row_stride,
                                 const float* panel, int depth, __mmask16 last, float* sums,
                                 int64_t sums_stride) {
  int row = 0;
  const auto step = [&](auto tile, int count) {
    for (; row + count <= row_count; row += count)
      tile(rows + row * row_stride, row_stride, panel, depth, last, sums + row * sums_stride,
           sums_stride);
  };
  step(tile_float<Most, V>, Most);
  step(tile_float<4, V>, 4);
  step(tile_float<2, V>, 2);
  step(tile_float<1, V>, 1);
}

EDGEKIT_AVX512 void multiply_float(const float* rows, int row_count, int64_t row_stride,
                                   const float* packed, int filters, int depth, bool, float* sums,
                                   int64_t sums_stride) {
  for (int first = 0; first < filters; first += kPanel) {
    const int width = filters - first;
    const float* panel = packed + int64_t{first} * depth;
    const __mmask16 last = first_lanes(width > kPanel ? kLanes : (width - 1) % kLanes + 1);
    const auto run = [&](auto column) {
      column(rows, row_count, row_stride, panel, depth, last, sums + first, sums_stride);
    };
    if (width > 3 * kLanes) run(column_float<4, 6>);
    else if (width > 2 * kLanes) run(column_float<3, 8>);
    else if (width > kLanes) run(column_float<2, 12>);
    else run(column_float<1, 12>);
  }
}

EDGEKIT_AVX512 void requantize(const int32_t* sums, int row_count, int filters,
                               int64_t sums_stride, const int32_t* biases,
                               const int32_t* multipliers, const int32_t* shifts,
                               int32_t output_zero, int32_t low, int32_t high, int8_t* out,
                               int64_t out_stride) {
  const __m512i zero = _mm512_setzero_si512();
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i nudge = _mm512_set1_epi64(1 << 30);
  for (int first = 0; first < filters; first += kLanes) {
    const __mmask16 lanes = first_lanes(filters - first);
    const __m512i bias = biases ? _mm512_maskz_loadu_epi32(lanes, biases + first) : zero;
    const __m512i multiplier = _mm512_maskz_loadu_epi32(lanes, multipliers + first);
    const __m512i odd_multiplier = _mm512_srli_epi64(multiplier, 32);
    const __m512i shift = _mm512_maskz_loadu_epi32(lanes, shifts + first);
    const __m512i left = _mm512_max_epi32(shift, zero);
    const __m512i right = _mm512_max_epi32(_mm512_sub_epi32(zero, shift), zero);
    const __m512i mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, right), one);
    const __m512i half = _mm512_srli_epi32(mask, 1);
    for (int row = 0; row < row_count; ++row) {
      __m512i value = _mm512_maskz_loadu_epi32(lanes, sums + row * sums_stride + first);
      value = _mm512_sllv_epi32(_mm512_add_epi32(value, bias), left);
      const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(value, multiplier), nudge);
      const __m512i odd = _mm512_add_epi64(
          _mm512_mul_epi32(_mm512_srli_epi64(value, 32), odd_multiplier), nudge);
      value = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 31),
                                      _mm512_slli_epi64(odd, 1));
      const __m512i remainder = _mm512_and_si512(value, mask);
      const __m512i threshold = _mm512_sub_epi32(half, _mm512_srai_epi32(value, 31));
      const __mmask16 up = _mm512_cmpgt_epi32_mask(remainder, threshold);
      value = _mm512_srav_epi32(value, right);
      value = _mm512_mask_add_epi32(value, up, value, one);
      value = _mm512_add_epi32(value, _mm512_set1_epi32(output_zero));
      value = _mm512_min_epi32(_mm512_max_epi32(value, _mm512_set1_epi32(low)),
                               _mm512_set1_epi32(high));
      _mm512_mask_cvtepi32_storeu_epi8(out + row * out_stride + first, lanes, value);
    }
  }
}

}  // namespace

Variant avx512_vnni_variant() {
  Variant variant = avx2_variant();
  variant.name = "avx512-vnni";
  variant.int8 = {packed_int8, pack_int8, multiply_int8};
  variant.float32 = {packed_float, pack_float, multiply_float};
  variant.lookup = lookup_avx512;
  variant.requantize = requantize;
  return variant;
}

Variant avx512_vbmi_variant() {
  Variant variant = avx512_vnni_variant();
  variant.name = "avx512-vbmi";
  variant.permute = permute_avx512;
  return variant;
}

}  // namespace edgekit
#endif
