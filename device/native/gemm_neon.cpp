// The kernels for aarch64: NEON, and the dot products of ARMv8.2.
#include "gemm_variants.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#define EDGEKIT_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#define EDGEKIT_INLINE __attribute__((always_inline)) inline

namespace edgekit {
namespace {

constexpr int kStep = 16;  // operands along the depth at a time

int rounded_up(int value, int step) { return (value + step - 1) / step * step; }

// The operands past the last whole step, followed by zeros.
inline int8x16_t rest(const int8_t* from, int count) {
  int8_t padded[kStep] = {};
  memcpy(padded, from, static_cast<size_t>(count));
  return vld1q_s8(padded);
}

inline void store(int32x4_t from, int count, int32_t* to) {
  if (count >= 4) {
    vst1q_s32(to, from);
  } else {
    int32_t lanes[4];
    vst1q_s32(lanes, from);
    memcpy(to, lanes, static_cast<size_t>(count) * sizeof(int32_t));
  }
}

// ---- int8 without dot products: 16-bit products along the depth, added up in pairs -----------

constexpr int kPanel = 4;  // filters side by side

int64_t packed_int8(int filters, int depth) {
  return int64_t{rounded_up(filters, kPanel)} * rounded_up(depth, kStep);
}

// [panel][depth / 16][filter of the panel][16]
void pack_int8(const int8_t* weights, int filters, int depth, int8_t* packed) {
  for (int first = 0; first < filters; first += kPanel)
    for (int step = 0; step < depth; step += kStep)
      for (int f = first; f < first + kPanel; ++f)
        for (int d = step; d < step + kStep; ++d)
          *packed++ = f < filters && d < depth ? weights[int64_t{f} * depth + d] : int8_t{0};
}

// Two products of a code and a weight fit 16 bits unless all four are -128.
template <bool HasMinimum>
inline int32x4_t add_products(int32x4_t total, int8x16_t a, int8x16_t w) {
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(w));
  if (HasMinimum) return vpadalq_s16(vpadalq_s16(total, low), vmull_high_s8(a, w));
  return vpadalq_s16(total, vmlal_high_s8(low, a, w));
}

template <int R, bool HasMinimum>
EDGEKIT_INLINE void add_step(int32x4_t (&total)[R][kPanel], const int8x16_t (&a)[R],
                             const int8_t* panel) {
#pragma GCC unroll 4
  for (int f = 0; f < kPanel; ++f) {
    const int8x16_t w = vld1q_s8(panel + f * kStep);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) total[r][f] = add_products<HasMinimum>(total[r][f], a[r], w);
    // One filter after the other: a compiler that mixes them runs out of registers.
    __asm__("" : "+r"(panel), "+w"(total[R - 1][f]));
  }
}

template <int R, bool HasMinimum>
void tile_int8(const int8_t* rows, int64_t row_stride, const int8_t* panel, int depth, int width,
               int32_t* sums, int64_t sums_stride) {
  int32x4_t total[R][kPanel];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int f = 0; f < kPanel; ++f) total[r][f] = vdupq_n_s32(0);
  const int8_t* row[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) row[r] = rows + r * row_stride;
  int8x16_t a[R];
  int left = depth;
  for (; left >= kStep; left -= kStep, panel += kPanel * kStep) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      a[r] = vld1q_s8(row[r]);
      row[r] += kStep;
    }
    add_step<R, HasMinimum>(total, a, panel);
  }
  if (left > 0) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) a[r] = rest(row[r], left);
    add_step<R, HasMinimum>(total, a, panel);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
    store(vpaddq_s32(vpaddq_s32(total[r][0], total[r][1]), vpaddq_s32(total[r][2], total[r][3])),
          width, sums + r * sums_stride);
}

template <bool HasMinimum>
void column_int8(const int8_t* rows, int row_count, int64_t row_stride, const int8_t* panel,
                 int depth, int width, int32_t* sums, int64_t sums_stride) {
  int row = 0;
  for (; row + 4 <= row_count; row += 4)
    tile_int8<4, HasMinimum>(rows + row * row_stride, row_stride, panel, depth, width,
                             sums + row * sums_stride, sums_stride);
  for (; row < row_count; ++row)
    tile_int8<1, HasMinimum>(rows + row * row_stride, row_stride, panel, depth, width,
                             sums + row * sums_stride, sums_stride);
}

void multiply_int8(const int8_t* rows, int row_count, int64_t row_stride, const int8_t* packed,
                   int filters, int depth, bool has_minimum, int32_t* sums, int64_t sums_stride) {
  const auto column = has_minimum ? column_int8<true> : column_int8<false>;
  for (int first = 0; first < filters; first += kPanel)
    column(rows, row_count, row_stride, packed + int64_t{first} * rounded_up(depth, kStep), depth,
           filters - first, sums + first, sums_stride);
}

// ---- int8 with dot products ------------------------------------------------------------------

constexpr int kDotPanel = 8;

int64_t packed_dot(int filters, int depth) {
  return int64_t{rounded_up(filters, kDotPanel)} * rounded_up(depth, kStep);
}

// [panel][depth / 4][filter of the panel][4]
void pack_dot(const int8_t* weights, int filters, int depth, int8_t* packed) {
  for (int first = 0; first < filters; first += kDotPanel)
    for (int step = 0; step < rounded_up(depth, kStep); step += 4)
      for (int f = first; f < first + kDotPanel; ++f)
        for (int d = step; d < step + 4; ++d)
          *packed++ = f < filters && d < depth ? weights[int64_t{f} * depth + d] : int8_t{0};
}

template <int R, int Lane>
EDGEKIT_DOT EDGEKIT_INLINE void add_dots(int32x4_t (&total)[R][2], const int8x16_t (&a)[R],
                                         const int8_t* panel) {
  const int8x16_t low = vld1q_s8(panel + Lane * 32);
  const int8x16_t high = vld1q_s8(panel + Lane * 32 + 16);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    total[r][0] = vdotq_laneq_s32(total[r][0], low, a[r], Lane);
    total[r][1] = vdotq_laneq_s32(total[r][1], high, a[r], Lane);
  }
}

template <int R>
EDGEKIT_DOT EDGEKIT_INLINE void add_dot_step(int32x4_t (&total)[R][2], const int8x16_t (&a)[R],
                                             const int8_t* panel) {
  add_dots<R, 0>(total, a, panel);
  add_dots<R, 1>(total, a, panel);
  add_dots<R, 2>(total, a, panel);
  add_dots<R, 3>(total, a, panel);
}

template <int R>
EDGEKIT_DOT void tile_dot(const int8_t* rows, int64_t row_stride, const int8_t* panel, int depth,
                          int width, int32_t* sums, int64_t sums_stride) {
  int32x4_t total[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[r][0] = total[r][1] = vdupq_n_s32(0);
  const int8_t* row[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) row[r] = rows + r * row_stride;
  int8x16_t a[R];
  int left = depth;
  for (; left >= kStep; left -= kStep, panel += kDotPanel * kStep) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      a[r] = vld1q_s8(row[r]);
      row[r] += kStep;
    }
    add_dot_step(total, a, panel);
  }
  if (left > 0) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) a[r] = rest(row[r], left);
    add_dot_step(total, a, panel);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    store(total[r][0], width, sums + r * sums_stride);
    if (width > 4) store(total[r][1], width - 4, sums + r * sums_stride + 4);
  }
}

void multiply_dot(const int8_t* rows, int row_count, int64_t row_stride, const int8_t* packed,
                  int filters, int depth, bool, int32_t* sums, int64_t sums_stride) {
  for (int first = 0; first < filters; first += kDotPanel) {
    const int8_t* panel = packed + int64_t{first} * rounded_up(depth, kStep);
    int row = 0;
    const auto step = [&](auto tile, int count) {
      for (; row + count <= row_count; row += count)
        tile(rows + row * row_stride, row_stride, panel, depth, filters - first,
             sums + row * sums_stride + first, sums_stride);
    };
    step(tile_dot<8>, 8);
    step(tile_dot<4>, 4);
    step(tile_dot<1>, 1);
  }
}

// ---- float32 ---------------------------------------------------------------------------------

constexpr int kFloatPanel = 8;

int64_t packed_float(int filters, int depth) {
  return int64_t{rounded_up(filters, kFloatPanel)} * depth;
}

// [panel][depth][filter of the panel]
void pack_float(const float* weights, int filters, int depth, float* packed) {
  for (int first = 0; first < filters; first += kFloatPanel)
    for (int d = 0; d < depth; ++d)
      for (int f = first; f < first + kFloatPanel; ++f)
        *packed++ = f < filters ? weights[int64_t{f} * depth + d] : 0.0f;
}

template <int R>
void tile_float(const float* rows, int64_t row_stride, const float* panel, int depth, int width,
                float* sums, int64_t sums_stride) {
  float32x4_t total[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) total[r][0] = total[r][1] = vdupq_n_f32(0.0f);
  int d = 0;
  for (; d + 4 <= depth; d += 4, panel += 4 * kFloatPanel) {
    float32x4_t a[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) a[r] = vld1q_f32(rows + r * row_stride + d);
#define EDGEKIT_FLOAT_STEP(lane)                                           \
  {                                                                        \
    const float32x4_t low = vld1q_f32(panel + (lane)*8);                   \
    const float32x4_t high = vld1q_f32(panel + (lane)*8 + 4);              \
    _Pragma("GCC unroll 8") for (int r = 0; r < R; ++r) {                  \
      total[r][0] = vfmaq_laneq_f32(total[r][0], low, a[r], lane);         \
      total[r][1] = vfmaq_laneq_f32(total[r][1], high, a[r], lane);        \
    }                                                                      \
  }
    EDGEKIT_FLOAT_STEP(0)
    EDGEKIT_FLOAT_STEP(1)
    EDGEKIT_FLOAT_STEP(2)
    EDGEKIT_FLOAT_STEP(3)
#undef EDGEKIT_FLOAT_STEP
  }
  for (; d < depth; ++d, panel += kFloatPanel) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float a = rows[r * row_stride + d];
      total[r][0] = vfmaq_n_f32(total[r][0], vld1q_f32(panel), a);
      total[r][1] = vfmaq_n_f32(total[r][1], vld1q_f32(panel + 4), a);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    float lanes[kFloatPanel];
    vst1q_f32(lanes, total[r][0]);
    vst1q_f32(lanes + 4, total[r][1]);
    memcpy(sums + r * sums_stride, lanes,
           static_cast<size_t>(width < kFloatPanel ? width : kFloatPanel) * sizeof(float));
  }
}

void multiply_float(const float* rows, int row_count, int64_t row_stride, const float* packed,
                    int filters, int depth, bool, float* sums, int64_t sums_stride) {
  for (int first = 0; first < filters; first += kFloatPanel) {
    const float* panel = packed + int64_t{first} * depth;
    int row = 0;
    const auto step = [&](auto tile, int count) {
      for (; row + count <= row_count; row += count)
        tile(rows + row * row_stride, row_stride, panel, depth, filters - first,
             sums + row * sums_stride + first, sums_stride);
    };
    step(tile_float<8>, 8);
    step(tile_float<4>, 4);
    step(tile_float<1>, 1);
  }
}

// ---- depthwise, requantisation ---------------------------------------------------------------

void depthwise(const int8_t* const* taps, int tap_count, int channels, const int16_t* pairs,
               int32_t* sums) {
  int c = 0;
  for (; c + 16 <= channels; c += 16) {
    int32x4_t total[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    const auto add = [&](int8x16_t a, int16x8_t low, int16x8_t high) {
      const int16x8_t first = vmovl_s8(vget_low_s8(a));
      const int16x8_t second = vmovl_high_s8(a);
      total[0] = vmlal_s16(total[0], vget_low_s16(first), vget_low_s16(low));
      total[1] = vmlal_high_s16(total[1], first, low);
      total[2] = vmlal_s16(total[2], vget_low_s16(second), vget_low_s16(high));
      total[3] = vmlal_high_s16(total[3], second, high);
    };
    const int16_t* at = pairs + 2 * c;
    int tap = 0;
    for (; tap + 2 <= tap_count; tap += 2, at += 2 * channels) {
      const int16x8x2_t low = vld2q_s16(at);
      const int16x8x2_t high = vld2q_s16(at + 16);
      add(vld1q_s8(taps[tap] + c), low.val[0], high.val[0]);
      add(vld1q_s8(taps[tap + 1] + c), low.val[1], high.val[1]);
    }
    if (tap < tap_count)
      add(vld1q_s8(taps[tap] + c), vld2q_s16(at).val[0], vld2q_s16(at + 16).val[0]);
    for (int i = 0; i < 4; ++i) vst1q_s32(sums + c + 4 * i, total[i]);
  }
  for (; c < channels; ++c) {
    int32_t sum = 0;
    for (int tap = 0; tap < tap_count; ++tap)
      sum += taps[tap][c] * pairs[(int64_t{tap / 2} * channels + c) * 2 + tap % 2];
    sums[c] = sum;
  }
}

inline int32x4_t load(const int32_t* from, int count) {
  if (count >= 4) return vld1q_s32(from);
  int32_t lanes[4] = {};
  memcpy(lanes, from, static_cast<size_t>(count) * sizeof(int32_t));
  return vld1q_s32(lanes);
}

// Four filters, of which the first `width` exist; all four if Whole, so that nothing but vector
// instructions is left in the loop.
template <bool Whole>
void requantize_four(const int32_t* sums, int row_count, int width, int64_t sums_stride,
                     int32x4_t bias, int32x4_t multiplier, int32x4_t shift, int32_t output_zero,
                     int32_t low, int32_t high, int8_t* out, int64_t out_stride) {
  const int32x4_t left = vmaxq_s32(shift, vdupq_n_s32(0));
  const int32x4_t right = vminq_s32(shift, vdupq_n_s32(0));
  for (int row = 0; row < row_count; ++row, sums += sums_stride, out += out_stride) {
    int32x4_t value = Whole ? vld1q_s32(sums) : load(sums, width);
    value = vqrdmulhq_s32(vshlq_s32(vaddq_s32(value, bias), left), multiplier);
    // VRSHL rounds half up; one less beforehand rounds halves of negative values down.
    const int32x4_t less = vshrq_n_s32(vandq_s32(value, right), 31);
    value = vrshlq_s32(vqaddq_s32(value, less), right);
    value = vaddq_s32(value, vdupq_n_s32(output_zero));
    value = vminq_s32(vmaxq_s32(value, vdupq_n_s32(low)), vdupq_n_s32(high));
    const int16x4_t words = vmovn_s32(value);
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    const int32_t four = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
    memcpy(out, &four, Whole ? sizeof four : static_cast<size_t>(width));
  }
}

void requantize(const int32_t* sums, int row_count, int filters, int64_t sums_stride,
                const int32_t* biases, const int32_t* multipliers, const int32_t* shifts,
                int32_t output_zero, int32_t low, int32_t high, int8_t* out, int64_t out_stride) {
  for (int first = 0; first < filters; first += 4) {
    const int width = filters - first;
    const int32x4_t bias = biases ? load(biases + first, width) : vdupq_n_s32(0);
    const auto run = width >= 4 ? requantize_four<true> : requantize_four<false>;
    run(sums + first, row_count, width, sums_stride, bias, load(multipliers + first, width),
        load(shifts + first, width), output_zero, low, high, out + first, out_stride);
  }
}

}  // namespace

Variant neon_variant() {
  Variant variant = plain_variant();
  variant.name = "neon";
  variant.int8 = {packed_int8, pack_int8, multiply_int8};
  variant.float32 = {packed_float, pack_float, multiply_float};
  variant.depthwise = depthwise;
  variant.requantize = requantize;
  return variant;
}

Variant neon_dot_variant() {
  Variant variant = neon_variant();
  variant.name = "neon-dot";
  variant.int8 = {packed_dot, pack_dot, multiply_dot};
  return variant;
}

}  // namespace edgekit
#endif
