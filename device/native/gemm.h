// Multiplication of int8 and float32 matrices for the NEPU delegate, and what stands around it in a
// convolution: patches, requantisation, operands of fewer bits. One thread, no state but the
// caller's. Every function gives the same numbers on every CPU (float32: within rounding).
//
// Words: a "row" is one output pixel's patch of `depth` = kernel_height * kernel_width * channels
// operands, in TFLite's order (kernel row, kernel column, channel); a "filter" is one output channel.
// Activations enter as the raw stored codes. Their zero point is taken off the sums:
//   sum (a - zero) * w  =  sum a * w  -  zero * sum w      with padded positions holding `zero`.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace edgekit {

struct Variant;  // the kernels of one instruction set; see gemm_variants.h

// ---- Which instruction set ------------------------------------------------------------------

// Names of the variants that this CPU can run, best first, "plain" last, then a null pointer:
// of "avx512-vbmi", "avx512-vnni", "avx2", "neon-dot", "neon", "plain".
const char* const* kernel_names();
// The variant in use: the best one unless use_kernels() chose another.
const char* kernel_name();
// Takes the variant of that name ("auto": the best one) for everything packed from now on; false,
// and nothing changes, if this CPU has none of that name. What is packed already keeps its own.
bool use_kernels(const char* name);

// ---- Weights, packed once -------------------------------------------------------------------

// Products of all pairs of operands: [activation code as uint8][weight as uint8].
using ProductTable = std::array<int32_t, 65536>;

// int8 weights [filters][depth] for exact products.
class PackedInt8 {
 public:
  PackedInt8(const int8_t* weights, int filters, int depth);
  int filters() const { return filters_; }
  int depth() const { return depth_; }
  const std::vector<int32_t>& weight_sums() const { return weight_sums_; }  // one per filter

 private:
  friend void multiply(const int8_t*, int, int64_t, const PackedInt8&, int32_t*, int64_t);
  const Variant* variant_;
  int filters_;
  int depth_;
  bool has_minimum_;  // some weight is -128, which NEON's shorter way cannot take
  std::vector<int32_t> weight_sums_;
  std::shared_ptr<const int8_t> panels_;
};

// int8 weights [filters][depth] whose products are looked up.
class PackedTable {
 public:
  PackedTable(const int8_t* weights, int filters, int depth, const ProductTable& products);
  int filters() const { return filters_; }
  int depth() const { return depth_; }
  const std::vector<int32_t>& weight_sums() const { return weight_sums_; }  // one per filter

 private:
  friend void multiply(const int8_t*, int, int64_t, const PackedTable&, int32_t*, int64_t);
  const Variant* variant_;
  int filters_;
  int depth_;
  std::vector<int32_t> weight_sums_;
  std::vector<int8_t> weights_;          // [filters][depth], only with wide_products_
  std::vector<int32_t> wide_products_;   // [weight][activation], only if some leave 16 bits
  std::shared_ptr<const int8_t> index_;  // [block of filters][depth][filter of the block]
  std::shared_ptr<const uint16_t> by_weight_;     // [weight][activation], offset by 32768
  std::shared_ptr<const int16_t> by_activation_;  // [activation][weight]
  std::shared_ptr<const uint8_t> planes_;         // [activation][low, high byte][weight]
};

// float32 weights [filters][depth].
class PackedFloat {
 public:
  PackedFloat(const float* weights, int filters, int depth);
  int filters() const { return filters_; }
  int depth() const { return depth_; }

 private:
  friend void multiply(const float*, int, int64_t, const PackedFloat&, float*, int64_t);
  const Variant* variant_;
  int filters_;
  int depth_;
  std::shared_ptr<const float> panels_;
};

// int8 depthwise weights [taps][channels], taps in TFLite's order (kernel row, kernel column);
// channels are output channels (input channels times depth multiplier). With `products`, they are
// looked up.
class PackedDepthwise {
 public:
  PackedDepthwise(const int8_t* weights, int taps, int channels,
                  const ProductTable* products = nullptr);
  int taps() const { return taps_; }
  int channels() const { return channels_; }
  const std::vector<int32_t>& weight_sums() const { return weight_sums_; }  // one per channel

 private:
  friend void multiply(const int8_t* const*, const PackedDepthwise&, int32_t*);
  const Variant* variant_;
  int taps_;
  int channels_;
  std::vector<int32_t> weight_sums_;
  std::vector<int8_t> weights_;
  std::shared_ptr<const int16_t> pairs_;  // [pair of taps][channels][2]
  std::vector<int32_t> products_;         // [activation][weight]; empty: exact
};

// ---- Matrix products -------------------------------------------------------------------------

// sums[row * sums_stride + filter] = sum over d of rows[row * row_stride + d] * weight[filter][d],
// raw codes, without zero points. `rows` is read from no position beyond a row's depth.
void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedInt8& weights,
              int32_t* sums, int64_t sums_stride);
// The same with every product taken from the table.
void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedTable& weights,
              int32_t* sums, int64_t sums_stride);
// The same in float32; each sum runs over the depth in order, whatever the shape.
void multiply(const float* rows, int row_count, int64_t row_stride, const PackedFloat& weights,
              float* sums, int64_t sums_stride);
// One depthwise output pixel: sums[channel] = sum over t of taps[t][channel] * weight[t][channel];
// taps[t] points to `channels` raw codes.
void multiply(const int8_t* const* taps, const PackedDepthwise& weights, int32_t* sums);

// ---- Around them -----------------------------------------------------------------------------

// TFLite's fixed-point requantisation, one multiplier, shift (positive: left) and bias per filter.
struct Requantization {
  const int32_t* biases;       // null: none
  const int32_t* multipliers;  // 0 or 2^30 .. 2^31 - 1
  const int32_t* shifts;       // -31 .. 30
  int32_t output_zero;
  int32_t low;   // of the output's codes, -128 at least
  int32_t high;  // of the output's codes, 127 at most
};

// TFLite's MultiplyByQuantizedMultiplier with two roundings (gemmlowp's
// SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT), for values outside the kernels.
int32_t multiply_by_quantized_multiplier(int32_t value, int32_t multiplier, int32_t shift);

// out = clamp(output_zero + scaled(sum + bias), low, high), bit-exact with the reference kernels.
void requantize(const int32_t* sums, int row_count, int filters, int64_t sums_stride,
                const int32_t* biases /*may be null*/, const int32_t* multipliers,
                const int32_t* shifts, int32_t output_zero, int32_t low, int32_t high, int8_t* out,
                int64_t out_stride);

// The operands as `bits`-bit hardware takes them (2..8; 8: a copy), still on the int8 scale: the
// 8 - bits low bits rounded half up and dropped, the result clamped to the range. in == out may be.
void round_to_bits(const int8_t* in, int64_t count, int bits, int8_t* out);

// A convolution's geometry; NHWC. Output pixel (y, x) sees input pixel
// (y * stride_height - pad_top + i * dilation_height, ...) at kernel row i.
struct ConvShape {
  int batches = 1;
  int in_height = 1, in_width = 1, in_channels = 1;
  int out_height = 1, out_width = 1;
  int kernel_height = 1, kernel_width = 1;
  int stride_height = 1, stride_width = 1;
  int dilation_height = 1, dilation_width = 1;
  int pad_top = 0, pad_left = 0;

  int64_t rows() const { return int64_t{batches} * out_height * out_width; }
  int depth() const { return kernel_height * kernel_width * in_channels; }
  // Rows are the input as it lies: no patches are needed.
  bool is_pointwise() const {
    return kernel_height == 1 && kernel_width == 1 && stride_height == 1 && stride_width == 1 &&
           pad_top == 0 && pad_left == 0 && in_height == out_height && in_width == out_width;
  }
};

// Rows first_row .. first_row + row_count - 1 (output pixels, batches outermost), `depth` apart,
// positions outside the input filled with `padding`.
void gather_patches(const int8_t* input, const ConvShape& shape, int64_t first_row, int row_count,
                    int8_t padding, int8_t* rows);
void gather_patches(const float* input, const ConvShape& shape, int64_t first_row, int row_count,
                    float padding, float* rows);

// Buffers that a caller keeps from call to call, so that nothing is allocated for each inference.
struct Workspace {
  std::vector<int8_t> rows;
  std::vector<float> float_rows;
  std::vector<int32_t> sums;
  std::vector<int32_t> biases;
  std::vector<const int8_t*> taps;
};

// A whole int8 convolution: patches, products and requantisation, a block of rows at a time.
// input [batches][in_height][in_width][in_channels], output [rows][filters].
// Biases are the model's; `input_zero` is taken off here. A fully connected layer is the shape
// {batches = rows, in_channels = depth}.
void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedInt8& weights, const Requantization& scale, int8_t* output,
              Workspace& workspace);
void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedTable& weights, const Requantization& scale, int8_t* output,
              Workspace& workspace);
// The same up to the sums [rows][filters]: sum (a - input_zero) * w, without bias.
void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedInt8& weights, int32_t* sums, Workspace& workspace);
void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedTable& weights, int32_t* sums, Workspace& workspace);
// A whole float32 convolution; biases may be null, the output is clamped to low .. high.
void convolve(const float* input, const ConvShape& shape, const PackedFloat& weights,
              const float* biases, float low, float high, float* output, Workspace& workspace);

// A whole depthwise convolution; output channels = in_channels * depth multiplier, in TFLite's order.
void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedDepthwise& weights, const Requantization& scale, int8_t* output,
              Workspace& workspace);
void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedDepthwise& weights, int32_t* sums, Workspace& workspace);

}  // namespace edgekit
