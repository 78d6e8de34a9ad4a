// Products looked up with AVX-512: from sheets, and by VBMI's permutation of bytes.
#include "gemm_variants.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include <new>

#ifndef __clang__  // GCC 12 warns of its own headers' undefined registers
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define EDGEKIT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#define EDGEKIT_VBMI \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx2,fma")))

namespace edgekit {
namespace {

constexpr int kLanes = 16;  // 32-bit lanes of a register

__mmask16 first_lanes(int count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xFFFF : (1 << count) - 1);
}

// Sheets as in gemm_plain.cpp, thirty-two filters wide: i in the lower halves of words, i + 16 in
// the upper.
constexpr int kSheetFilters = 32;
constexpr int kSheetSteps = 4;
constexpr int kRowsForSheets = 96;

EDGEKIT_AVX512 void build_sheet(const uint16_t* by_weight, const int8_t* weights, uint16_t* to) {
  const __m128i* w[kSheetFilters];
  for (int f = 0; f < kSheetFilters; ++f)
    w[f] = reinterpret_cast<const __m128i*>(by_weight + static_cast<uint8_t>(weights[f]) * 256);
  for (int a = 0; a < 256 / 8; ++a, to += 8 * kSheetFilters) {
    const auto quarters = [&](int f) EDGEKIT_AVX512 {
      __m512i all = _mm512_castsi128_si512(_mm_load_si128(w[f] + a));
      all = _mm512_inserti32x4(all, _mm_load_si128(w[f + 4] + a), 1);
      all = _mm512_inserti32x4(all, _mm_load_si128(w[f + 8] + a), 2);
      return _mm512_inserti32x4(all, _mm_load_si128(w[f + 12] + a), 3);
    };
    __m512i pairs[8], fours[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i lower = quarters(i);
      const __m512i upper = quarters(i + 16);
      pairs[i] = _mm512_unpacklo_epi16(lower, upper);
      pairs[i + 4] = _mm512_unpackhi_epi16(lower, upper);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      fours[2 * i] = _mm512_unpacklo_epi32(pairs[2 * i], pairs[2 * i + 1]);
      fours[2 * i + 1] = _mm512_unpackhi_epi32(pairs[2 * i], pairs[2 * i + 1]);
    }
    const auto put = [&](int activation, __m512i words) EDGEKIT_AVX512 {
      _mm512_store_si512(to + activation * kSheetFilters, words);
    };
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      put(4 * i, _mm512_unpacklo_epi64(fours[4 * i], fours[4 * i + 2]));
      put(4 * i + 1, _mm512_unpackhi_epi64(fours[4 * i], fours[4 * i + 2]));
      put(4 * i + 2, _mm512_unpacklo_epi64(fours[4 * i + 1], fours[4 * i + 3]));
      put(4 * i + 3, _mm512_unpackhi_epi64(fours[4 * i + 1], fours[4 * i + 3]));
    }
  }
}

EDGEKIT_AVX512 inline void add_sheets(const uint16_t* sheets, int steps, const int8_t* a,
                                      __m512i* total) {
  __m512i both = total[0];
  __m512i upper = total[1];
#pragma GCC unroll 4
  for (int step = 0; step < steps; ++step, sheets += 256 * kSheetFilters) {
    const __m512i found =
        _mm512_load_si512(sheets + static_cast<uint8_t>(a[step]) * kSheetFilters);
    both = _mm512_add_epi32(both, found);
    upper = _mm512_add_epi32(upper, _mm512_srli_epi32(found, 16));
  }
  total[0] = both;
  total[1] = upper;
}

// The 256 bytes of a plane at 64 indices.
EDGEKIT_VBMI inline __m512i bytes_at(__m512i index, __mmask64 upper, const __m512i plane[4]) {
  return _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(plane[0], index, plane[1]),
                                _mm512_permutex2var_epi8(plane[2], index, plane[3]));
}

// The planes' bytes are unsigned and summed in 16 bits: all of a pair at once, the upper one of the
// pair again by itself, up to 256 times without overflow. High bytes carry an offset of 128.
template <int V>
EDGEKIT_VBMI void permute(const int8_t* index, const int8_t* selectors, int steps,
                          const uint8_t* planes, int32_t* sums) {
  constexpr int kFlush = 256;
  for (int start = 0; start < steps; start += kFlush) {
    const int count = steps - start < kFlush ? steps - start : kFlush;
    __m512i both[2][V], upper[2][V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      both[0][v] = both[1][v] = upper[0][v] = upper[1][v] = _mm512_setzero_si512();
    for (int step = start; step < start + count; ++step) {
      const uint8_t* at = planes + static_cast<uint8_t>(selectors[step]) * 512;
      const int8_t* from = index + int64_t{step} * V * 64;
      __m512i plane[2][4];
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) plane[i / 4][i % 4] = _mm512_loadu_si512(at + i * 64);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const __m512i codes = _mm512_loadu_si512(from + v * 64);
        const __mmask64 negative = _mm512_movepi8_mask(codes);
#pragma GCC unroll 2
        for (int p = 0; p < 2; ++p) {
          const __m512i found = bytes_at(codes, negative, plane[p]);
          both[p][v] = _mm512_add_epi16(both[p][v], found);
          upper[p][v] = _mm512_add_epi16(upper[p][v], _mm512_srli_epi16(found, 8));
        }
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      uint16_t low_even[32], low_odd[32], high_even[32], high_odd[32];
      _mm512_storeu_si512(low_even, _mm512_sub_epi16(both[0][v], _mm512_slli_epi16(upper[0][v], 8)));
      _mm512_storeu_si512(low_odd, upper[0][v]);
      _mm512_storeu_si512(high_even, _mm512_sub_epi16(both[1][v], _mm512_slli_epi16(upper[1][v], 8)));
      _mm512_storeu_si512(high_odd, upper[1][v]);
      for (int i = 0; i < 32; ++i) {
        sums[v * 64 + 2 * i] += low_even[i] + high_even[i] * 256 - count * 32768;
        sums[v * 64 + 2 * i + 1] += low_odd[i] + high_odd[i] * 256 - count * 32768;
      }
    }
  }
}

}  // namespace

EDGEKIT_AVX512 void lookup_avx512(const int8_t* rows, int row_count, int64_t row_stride,
                                  const Lookup& products, int filters, int depth, int32_t* sums,
                                  int64_t sums_stride) {
  if (row_count < kRowsForSheets || depth > kMostLookupSteps) {
    lookup_directly(rows, row_count, row_stride, products, filters, depth, sums, sums_stride);
    return;
  }
  alignas(64) uint16_t sheets[kSheetSteps * 256 * kSheetFilters];
  auto* totals = new __m512i[static_cast<size_t>(row_count) * 2];
  for (int first = 0; first < filters; first += kSheetFilters) {
    memset(static_cast<void*>(totals), 0, static_cast<size_t>(row_count) * 2 * sizeof(__m512i));
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
    const int width = filters - first;
    const __mmask16 lower_lanes = first_lanes(width);
    const __mmask16 upper_lanes = width > kLanes ? first_lanes(width - kLanes) : __mmask16{0};
    const auto all = static_cast<int32_t>(static_cast<uint32_t>(depth) << 15);
    const __m512i offset = _mm512_set1_epi32(all);
    for (int row = 0; row < row_count; ++row) {
      int32_t* to = sums + row * sums_stride + first;
      const __m512i upper = totals[2 * row + 1];
      const __m512i lower = _mm512_sub_epi32(totals[2 * row], _mm512_slli_epi32(upper, 16));
      _mm512_mask_storeu_epi32(to, lower_lanes, _mm512_sub_epi32(lower, offset));
      _mm512_mask_storeu_epi32(to + kLanes, upper_lanes, _mm512_sub_epi32(upper, offset));
    }
  }
  delete[] totals;
}

EDGEKIT_VBMI void permute_avx512(const int8_t* index, int vectors, const int8_t* selectors,
                                 int steps, const uint8_t* planes, int32_t* sums) {
  if (vectors == 4) permute<4>(index, selectors, steps, planes, sums);
  else if (vectors == 3) permute<3>(index, selectors, steps, planes, sums);
  else if (vectors == 2) permute<2>(index, selectors, steps, planes, sums);
  else permute<1>(index, selectors, steps, planes, sums);
}

}  // namespace edgekit
#endif
