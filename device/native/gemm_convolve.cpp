// Convolutions as matrix products of patches, a block of rows at a time.
#include <string.h>

#include <algorithm>

#include "gemm.h"

namespace edgekit {
namespace {

// A block of patches and its sums stay in the second-level cache of a small core (512 KiB).
constexpr int64_t kBlockBytes = 192 * 1024;
// Sheets of looked-up products are built for each block: it pays to build them for many rows.
constexpr int64_t kTableBlockBytes = 4 * 1024 * 1024;

// Rows of a block, given the bytes of patch and sums for each.
int block_rows(const ConvShape& shape, int64_t row_bytes, int64_t block_bytes) {
  const int64_t fitting = block_bytes / row_bytes / 24 * 24;
  return static_cast<int>(std::clamp<int64_t>(fitting, 24, std::max<int64_t>(shape.rows(), 24)));
}

template <typename T>
void gather(const T* input, const ConvShape& s, int64_t first_row, int row_count, T padding,
            T* rows) {
  const int64_t pixels = int64_t{s.out_height} * s.out_width;
  const int64_t line = int64_t{s.in_width} * s.in_channels;
  const int run = s.kernel_width * s.in_channels;
  const auto channel_bytes = static_cast<size_t>(s.in_channels) * sizeof(T);
  for (int row = 0; row < row_count; ++row) {
    const int64_t position = first_row + row;
    const T* image = input + position / pixels * s.in_height * line;
    const int pixel = static_cast<int>(position % pixels);
    const int top = pixel / s.out_width * s.stride_height - s.pad_top;
    const int left = pixel % s.out_width * s.stride_width - s.pad_left;
    const int right = left + (s.kernel_width - 1) * s.dilation_width;
    const bool whole = s.dilation_width == 1 && left >= 0 && right < s.in_width;
    for (int i = 0; i < s.kernel_height; ++i, rows += run) {
      const int y = top + i * s.dilation_height;
      if (y < 0 || y >= s.in_height) {
        std::fill_n(rows, run, padding);
      } else if (whole) {
        memcpy(rows, image + y * line + int64_t{left} * s.in_channels, run * sizeof(T));
      } else {
        for (int j = 0; j < s.kernel_width; ++j) {
          const int x = left + j * s.dilation_width;
          T* to = rows + j * s.in_channels;
          if (x < 0 || x >= s.in_width)
            std::fill_n(to, s.in_channels, padding);
          else
            memcpy(to, image + y * line + int64_t{x} * s.in_channels, channel_bytes);
        }
      }
    }
  }
}

// Calls each(first row, rows in the block, the block's patches).
template <typename T, typename Each>
void for_each_block(const T* input, const ConvShape& shape, T padding, int block,
                    std::vector<T>& rows, const Each& each) {
  const bool direct = shape.is_pointwise();
  if (!direct) rows.resize(static_cast<size_t>(block) * shape.depth());
  for (int64_t first = 0; first < shape.rows(); first += block) {
    const int count = static_cast<int>(std::min<int64_t>(block, shape.rows() - first));
    if (direct) {
      each(first, count, input + first * shape.depth());
    } else {
      gather(input, shape, first, count, padding, rows.data());
      each(first, count, static_cast<const T*>(rows.data()));
    }
  }
}

// The biases with the input's zero point taken off every product.
const int32_t* corrected(const int32_t* biases, int32_t zero, const std::vector<int32_t>& sums,
                         std::vector<int32_t>& out) {
  out.resize(sums.size());
  for (size_t i = 0; i < sums.size(); ++i)
    out[i] = static_cast<int32_t>((biases ? static_cast<uint32_t>(biases[i]) : 0) -
                                  static_cast<uint32_t>(zero) * static_cast<uint32_t>(sums[i]));
  return out.data();
}

void add_to_rows(const int32_t* addend, int count, int64_t row_count, int32_t* sums) {
  for (int64_t row = 0; row < row_count; ++row, sums += count)
    for (int i = 0; i < count; ++i) sums[i] += addend[i];
}

template <typename Packed>
void convolve_and_scale(const int8_t* input, const ConvShape& shape, int32_t zero,
                        const Packed& weights, const Requantization& scale, int8_t* output,
                        Workspace& work, int64_t block_bytes) {
  const int filters = weights.filters();
  const int32_t* biases = corrected(scale.biases, zero, weights.weight_sums(), work.biases);
  const int block = block_rows(shape, shape.depth() + 4 * int64_t{filters}, block_bytes);
  work.sums.resize(static_cast<size_t>(block) * filters);
  for_each_block(input, shape, static_cast<int8_t>(zero), block, work.rows,
                 [&](int64_t first, int count, const int8_t* rows) {
                   multiply(rows, count, shape.depth(), weights, work.sums.data(), filters);
                   requantize(work.sums.data(), count, filters, filters, biases, scale.multipliers,
                              scale.shifts, scale.output_zero, scale.low, scale.high,
                              output + first * filters, filters);
                 });
}

template <typename Packed>
void convolve_to_sums(const int8_t* input, const ConvShape& shape, int32_t zero,
                      const Packed& weights, int32_t* sums, Workspace& work, int64_t block_bytes) {
  const int filters = weights.filters();
  const int32_t* biases = corrected(nullptr, zero, weights.weight_sums(), work.biases);
  const int block = block_rows(shape, shape.depth() + 4 * int64_t{filters}, block_bytes);
  for_each_block(input, shape, static_cast<int8_t>(zero), block, work.rows,
                 [&](int64_t first, int count, const int8_t* rows) {
                   int32_t* to = sums + first * filters;
                   multiply(rows, count, shape.depth(), weights, to, filters);
                   add_to_rows(biases, filters, count, to);
                 });
}

// Calls each(output row, its sums [out_width][channels]) for every row of output pixels.
template <typename Each>
void for_each_depthwise_row(const int8_t* input, const ConvShape& s, int32_t zero,
                            const PackedDepthwise& weights, Workspace& work, const Each& each) {
  const int channels = weights.channels();
  const int multiplier = channels / s.in_channels;
  const int64_t line = int64_t{s.in_width} * channels;
  const int64_t inputs = s.batches * s.in_height * line;
  // One channel of padding after the input, and the input widened where a channel is used twice.
  work.rows.resize((multiplier > 1 ? inputs : 0) + channels);
  int8_t* padding = work.rows.data();
  std::fill_n(padding, channels, static_cast<int8_t>(zero));
  if (multiplier > 1) {
    int8_t* wide = padding + channels;
    for (int64_t i = 0; i < inputs / multiplier; ++i)
      std::fill_n(wide + i * multiplier, multiplier, input[i]);
    input = wide;
  }
  work.taps.resize(weights.taps());
  work.sums.resize(static_cast<size_t>(s.out_width) * channels);
  const int reach = (s.kernel_width - 1) * s.dilation_width;
  const int64_t step = int64_t{s.dilation_width} * channels;
  for (int64_t row = 0; row < int64_t{s.batches} * s.out_height; ++row) {
    const int8_t* image = input + row / s.out_height * s.in_height * line;
    const int top = static_cast<int>(row % s.out_height) * s.stride_height - s.pad_top;
    for (int column = 0; column < s.out_width; ++column) {
      const int left = column * s.stride_width - s.pad_left;
      const bool whole = left >= 0 && left + reach < s.in_width;
      const int8_t** tap = work.taps.data();
      for (int i = 0; i < s.kernel_height; ++i) {
        const int y = top + i * s.dilation_height;
        if (y < 0 || y >= s.in_height) {
          for (int j = 0; j < s.kernel_width; ++j) *tap++ = padding;
        } else if (whole) {
          const int8_t* from = image + y * line + int64_t{left} * channels;
          for (int j = 0; j < s.kernel_width; ++j, from += step) *tap++ = from;
        } else {
          for (int j = 0; j < s.kernel_width; ++j) {
            const int x = left + j * s.dilation_width;
            const bool inside = x >= 0 && x < s.in_width;
            *tap++ = inside ? image + y * line + int64_t{x} * channels : padding;
          }
        }
      }
      multiply(work.taps.data(), weights, work.sums.data() + int64_t{column} * channels);
    }
    each(row, work.sums.data());
  }
}

}  // namespace

void gather_patches(const int8_t* input, const ConvShape& shape, int64_t first_row, int row_count,
                    int8_t padding, int8_t* rows) {
  gather(input, shape, first_row, row_count, padding, rows);
}

void gather_patches(const float* input, const ConvShape& shape, int64_t first_row, int row_count,
                    float padding, float* rows) {
  gather(input, shape, first_row, row_count, padding, rows);
}

void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedInt8& weights, const Requantization& scale, int8_t* output,
              Workspace& workspace) {
  convolve_and_scale(input, shape, input_zero, weights, scale, output, workspace, kBlockBytes);
}

void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedTable& weights, const Requantization& scale, int8_t* output,
              Workspace& workspace) {
  convolve_and_scale(input, shape, input_zero, weights, scale, output, workspace,
                     kTableBlockBytes);
}

void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedInt8& weights, int32_t* sums, Workspace& workspace) {
  convolve_to_sums(input, shape, input_zero, weights, sums, workspace, kBlockBytes);
}

void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedTable& weights, int32_t* sums, Workspace& workspace) {
  convolve_to_sums(input, shape, input_zero, weights, sums, workspace, kTableBlockBytes);
}

void convolve(const float* input, const ConvShape& shape, const PackedFloat& weights,
              const float* biases, float low, float high, float* output, Workspace& workspace) {
  const int filters = weights.filters();
  const int block = block_rows(shape, 4 * (int64_t{filters} + shape.depth()), kBlockBytes);
  for_each_block(input, shape, 0.0f, block, workspace.float_rows,
                 [&](int64_t first, int count, const float* rows) {
                   float* to = output + first * filters;
                   multiply(rows, count, shape.depth(), weights, to, filters);
                   for (int row = 0; row < count; ++row, to += filters)
                     for (int i = 0; i < filters; ++i)
                       to[i] = std::min(std::max(to[i] + (biases ? biases[i] : 0.0f), low), high);
                 });
}

void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedDepthwise& weights, const Requantization& scale, int8_t* output,
              Workspace& workspace) {
  const int channels = weights.channels();
  const int32_t* biases =
      corrected(scale.biases, input_zero, weights.weight_sums(), workspace.biases);
  for_each_depthwise_row(
      input, shape, input_zero, weights, workspace, [&](int64_t row, const int32_t* sums) {
        requantize(sums, shape.out_width, channels, channels, biases, scale.multipliers,
                   scale.shifts, scale.output_zero, scale.low, scale.high,
                   output + row * shape.out_width * channels, channels);
      });
}

void convolve(const int8_t* input, const ConvShape& shape, int32_t input_zero,
              const PackedDepthwise& weights, int32_t* sums, Workspace& workspace) {
  const int channels = weights.channels();
  const int32_t* biases = corrected(nullptr, input_zero, weights.weight_sums(), workspace.biases);
  for_each_depthwise_row(
      input, shape, input_zero, weights, workspace, [&](int64_t row, const int32_t* found) {
        int32_t* to = sums + row * shape.out_width * channels;
        std::copy_n(found, int64_t{shape.out_width} * channels, to);
        add_to_rows(biases, channels, shape.out_width, to);
      });
}

}  // namespace edgekit
