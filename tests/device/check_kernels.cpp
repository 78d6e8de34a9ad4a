// Compares one variant of the kernels with definitions written out here, on random shapes.
// Usage: check_kernels names | check_kernels NAME SEED. Prints what differs; exit status 1 then.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gemm.h"

using namespace edgekit;

namespace {

std::mt19937 generator;
int failures = 0;
long compared = 0;

int draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }

std::vector<int8_t> codes(int64_t count, int low = -128) {
  std::vector<int8_t> drawn(count);
  // Runs of extreme codes, so that sums reach as far as they can.
  const bool extreme = draw(0, 3) == 0;
  for (auto& code : drawn)
    code = static_cast<int8_t>(extreme ? (draw(0, 1) ? 127 : low) : draw(low, 127));
  return drawn;
}

template <typename T>
void expect_equal(const char* what, const std::vector<T>& got, const std::vector<T>& wanted,
                  const std::string& shape) {
  compared += static_cast<long>(wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (got[i] == wanted[i]) continue;
    std::printf("%s %s: at %zu %lld, not %lld\n", what, shape.c_str(), i,
                static_cast<long long>(got[i]), static_cast<long long>(wanted[i]));
    ++failures;
    return;
  }
}

struct Shape {
  int rows, filters, depth;
  int64_t row_stride, sums_stride;
  std::string text() const {
    return std::to_string(rows) + " rows, " + std::to_string(filters) + " filters, depth " +
           std::to_string(depth);
  }
};

Shape draw_shape(int most_depth) {
  Shape s{draw(1, draw(0, 3) ? 20 : draw(0, 3) ? 300 : 600), draw(1, draw(0, 3) ? 70 : 300), draw(1, most_depth), 0, 0};
  s.row_stride = s.depth + draw(0, 3);
  s.sums_stride = s.filters + draw(0, 3);
  return s;
}

constexpr int32_t kUntouched = 123456789;  // what stands between the rows of sums stays

template <typename Product>
std::vector<int32_t> sums_of(const Shape& s, const std::vector<int8_t>& rows,
                             const std::vector<int8_t>& weights, const Product& product) {
  std::vector<int32_t> sums(s.rows * s.sums_stride, kUntouched);
  for (int r = 0; r < s.rows; ++r)
    for (int f = 0; f < s.filters; ++f) {
      uint32_t sum = 0;
      for (int d = 0; d < s.depth; ++d)
        sum += product(rows[r * s.row_stride + d], weights[int64_t{f} * s.depth + d]);
      sums[r * s.sums_stride + f] = static_cast<int32_t>(sum);
    }
  return sums;
}

// Exactly as long as the rows reach: a read beyond them is one a sanitiser sees.
std::vector<int8_t> rows_of(const Shape& s) { return codes((s.rows - 1) * s.row_stride + s.depth); }

void check_int8(int most_depth, int least_weight) {
  const Shape s = draw_shape(most_depth);
  const auto rows = rows_of(s);
  const auto weights = codes(int64_t{s.filters} * s.depth, least_weight);
  const PackedInt8 packed(weights.data(), s.filters, s.depth);
  std::vector<int32_t> sums(s.rows * s.sums_stride, kUntouched);
  multiply(rows.data(), s.rows, s.row_stride, packed, sums.data(), s.sums_stride);
  expect_equal("int8", sums, sums_of(s, rows, weights, [](int a, int w) { return a * w; }),
               s.text());
}

ProductTable draw_table(int32_t low, int32_t high) {
  ProductTable table;
  std::uniform_int_distribution<int32_t> any(low, high);
  for (auto& product : table) product = any(generator);
  return table;
}

void check_table(int most_depth, int32_t low, int32_t high) {
  const Shape s = draw_shape(most_depth);
  const auto rows = rows_of(s);
  const auto weights = codes(int64_t{s.filters} * s.depth);
  const ProductTable table = draw_table(low, high);
  const auto product = [&](int8_t a, int8_t w) {
    return table[static_cast<uint8_t>(a) * 256 + static_cast<uint8_t>(w)];
  };
  const PackedTable packed(weights.data(), s.filters, s.depth, table);
  std::vector<int32_t> sums(s.rows * s.sums_stride, kUntouched);
  multiply(rows.data(), s.rows, s.row_stride, packed, sums.data(), s.sums_stride);
  expect_equal("table", sums, sums_of(s, rows, weights, product), s.text());
}

void check_float(int most_depth) {
  const Shape s = draw_shape(most_depth);
  std::normal_distribution<float> normal;
  std::vector<float> rows((s.rows - 1) * s.row_stride + s.depth);
  std::vector<float> weights(int64_t{s.filters} * s.depth);
  for (auto& value : rows) value = normal(generator);
  for (auto& value : weights) value = normal(generator);
  const PackedFloat packed(weights.data(), s.filters, s.depth);
  std::vector<float> sums(s.rows * s.sums_stride, -1.0f);
  multiply(rows.data(), s.rows, s.row_stride, packed, sums.data(), s.sums_stride);
  for (int r = 0; r < s.rows; ++r)
    for (int f = 0; f < s.filters; ++f, ++compared) {
      double sum = 0;
      double magnitude = 0;
      for (int d = 0; d < s.depth; ++d) {
        const double product =
            double{rows[r * s.row_stride + d]} * weights[int64_t{f} * s.depth + d];
        sum += product;
        magnitude += std::fabs(product);
      }
      const double got = sums[r * s.sums_stride + f];
      if (std::fabs(got - sum) <= 1e-5 * magnitude) continue;
      std::printf("float32 %s: row %d filter %d %g, not %g\n", s.text().c_str(), r, f, got, sum);
      ++failures;
      return;
    }
  for (int r = 0; r < s.rows; ++r)
    for (int64_t i = s.filters; i < s.sums_stride; ++i)
      if (sums[r * s.sums_stride + i] != -1.0f) {
        std::printf("float32 %s: wrote between the rows\n", s.text().c_str());
        ++failures;
        return;
      }
}

// The definition in gemmlowp's words, with its divisions.
int32_t reference_scaled(int32_t value, int32_t multiplier, int32_t shift) {
  const int left = std::max(shift, 0);
  const int right = std::max(-shift, 0);
  const auto moved = static_cast<int32_t>(static_cast<uint32_t>(value) << left);
  int32_t high;
  if (moved == multiplier && moved == INT32_MIN) {
    high = INT32_MAX;
  } else {
    const int64_t product = int64_t{moved} * multiplier;
    const int64_t nudge = product >= 0 ? (1 << 30) : (1 - (1 << 30));
    high = static_cast<int32_t>((product + nudge) / (int64_t{1} << 31));
  }
  const int64_t mask = (int64_t{1} << right) - 1;
  const int64_t remainder = high & mask;
  const int64_t threshold = (mask >> 1) + (high < 0 ? 1 : 0);
  return (high >> right) + (remainder > threshold ? 1 : 0);
}

int32_t draw_int32() {
  static const int32_t edges[] = {0,         1,         -1,         2,          -2,        3,
                                  -3,        INT32_MAX, INT32_MIN,  1 << 30,    -(1 << 30), 1 << 29,
                                  INT32_MIN + 1,        INT32_MAX - 1,          127,       -128};
  const int kind = draw(0, 3);
  if (kind == 0) return edges[draw(0, 15)];
  const int bits = draw(1, 31);
  const auto value = static_cast<int32_t>(generator() >> (32 - bits));
  return draw(0, 1) ? value : -value;
}

void check_requantize() {
  const int rows = draw(1, 5);
  const int filters = draw(1, 80);
  const int64_t stride = filters + draw(0, 3);
  std::vector<int32_t> sums(rows * stride), biases(filters), multipliers(filters), shifts(filters);
  for (auto& sum : sums) sum = draw_int32();
  for (int f = 0; f < filters; ++f) {
    biases[f] = draw(0, 2) ? draw_int32() : 0;
    multipliers[f] = draw(0, 9) ? draw(1 << 30, INT32_MAX) : draw(0, 1) ? INT32_MAX : 0;
    shifts[f] = draw(0, 3) ? draw(-12, 0) : draw(-31, 30);
  }
  if (draw(0, 1)) {  // sums that land exactly between two outputs
    for (int f = 0; f < filters; ++f) {
      multipliers[f] = 1 << 30;
      shifts[f] = draw(-20, 3);
      for (int r = 0; r < rows; ++r) sums[r * stride + f] = draw(-600, 600) * (1 << draw(0, 12));
    }
  }
  const bool with_bias = draw(0, 3) != 0;
  const int zero = draw(-128, 127);
  const int low = draw(0, 1) ? -128 : draw(-128, 0);
  const int high = draw(0, 1) ? 127 : draw(1, 127);
  std::vector<int8_t> got(rows * stride, 77), wanted(rows * stride, 77);
  for (int r = 0; r < rows; ++r)
    for (int f = 0; f < filters; ++f) {
      const auto bias = static_cast<uint32_t>(with_bias ? biases[f] : 0);
      const auto sum = static_cast<int32_t>(static_cast<uint32_t>(sums[r * stride + f]) + bias);
      const int32_t value = reference_scaled(sum, multipliers[f], shifts[f]);
      if (value != multiply_by_quantized_multiplier(sum, multipliers[f], shifts[f])) {
        std::printf("scaled(%d, %d, %d)\n", sum, multipliers[f], shifts[f]);
        ++failures;
      }
      const auto moved = static_cast<int32_t>(static_cast<uint32_t>(value) + zero);
      wanted[r * stride + f] = static_cast<int8_t>(std::min(std::max(moved, low), high));
    }
  requantize(sums.data(), rows, filters, stride, with_bias ? biases.data() : nullptr,
             multipliers.data(), shifts.data(), zero, low, high, got.data(), stride);
  expect_equal("requantize", got, wanted, std::to_string(filters) + " filters");
}

void check_rounding() {
  for (int bits = 2; bits <= 8; ++bits) {
    std::vector<int8_t> in(256 + draw(0, 40)), out(in.size()), wanted(in.size());
    for (size_t i = 0; i < in.size(); ++i) {
      in[i] = static_cast<int8_t>(i);
      const int drop = 8 - bits;
      const int half = drop ? 1 << (drop - 1) : 0;
      const int least = -(1 << (bits - 1));
      const int rounded = std::min(std::max((in[i] + half) >> drop, least), -least - 1);
      wanted[i] = static_cast<int8_t>(rounded * (1 << drop));
    }
    round_to_bits(in.data(), static_cast<int64_t>(in.size()), bits, out.data());
    expect_equal("round_to_bits", out, wanted, std::to_string(bits) + " bits");
  }
}

ConvShape draw_convolution(int most_channels) {
  ConvShape s;
  s.batches = draw(1, 2);
  s.in_channels = draw(1, most_channels);
  const bool pointwise = draw(0, 3) == 0;
  s.kernel_height = pointwise ? 1 : draw(1, 4);
  s.kernel_width = pointwise ? 1 : draw(1, 4);
  s.stride_height = pointwise ? 1 : draw(1, 3);
  s.stride_width = pointwise ? 1 : draw(1, 3);
  s.dilation_height = draw(0, 3) ? 1 : 2;
  s.dilation_width = draw(0, 3) ? 1 : 2;
  s.pad_top = pointwise ? 0 : draw(0, s.kernel_height - 1);
  s.pad_left = pointwise ? 0 : draw(0, s.kernel_width - 1);
  s.in_height = draw(1, 14);
  s.in_width = draw(1, 14);
  s.out_height = pointwise ? s.in_height : draw(1, (s.in_height + s.stride_height) / s.stride_height);
  s.out_width = pointwise ? s.in_width : draw(1, (s.in_width + s.stride_width) / s.stride_width);
  return s;
}

// product(activation code or the padding's, weight at (kernel position, input channel))
template <typename T, typename Sum, typename Product>
Sum sum_at(const ConvShape& s, const std::vector<T>& input, int64_t row, T padding, int first,
           int channels, const Product& product) {
  const int column = static_cast<int>(row % s.out_width);
  const int line = static_cast<int>(row / s.out_width % s.out_height);
  const int64_t batch = row / s.out_width / s.out_height;
  Sum sum = 0;
  for (int i = 0; i < s.kernel_height; ++i)
    for (int j = 0; j < s.kernel_width; ++j)
      for (int c = first; c < first + channels; ++c) {
        const int y = line * s.stride_height - s.pad_top + i * s.dilation_height;
        const int x = column * s.stride_width - s.pad_left + j * s.dilation_width;
        const bool inside = y >= 0 && y < s.in_height && x >= 0 && x < s.in_width;
        const T a = inside ? input[((batch * s.in_height + y) * s.in_width + x) * s.in_channels + c]
                           : padding;
        sum += product(a, i * s.kernel_width + j, c);
      }
  return sum;
}

struct Scale {
  std::vector<int32_t> biases, multipliers, shifts;
  Requantization view;
  explicit Scale(int filters) : biases(filters), multipliers(filters), shifts(filters) {
    for (int f = 0; f < filters; ++f) {
      biases[f] = draw(-100000, 100000);
      multipliers[f] = draw(1 << 30, INT32_MAX);
      shifts[f] = draw(-12, -4);
    }
    view = {biases.data(), multipliers.data(), shifts.data(), draw(-128, 127), -128, 127};
  }
  int8_t output(int32_t sum, int f) const {
    const int32_t value = reference_scaled(sum + biases[f], multipliers[f], shifts[f]);
    return static_cast<int8_t>(std::min(std::max(value + view.output_zero, -128), 127));
  }
};

void check_convolution(bool looked_up) {
  const ConvShape s = draw_convolution(20);
  const int filters = draw(1, 40);
  const auto zero = static_cast<int8_t>(draw(-128, 127));
  const auto input = codes(int64_t{s.batches} * s.in_height * s.in_width * s.in_channels);
  const auto weights = codes(int64_t{filters} * s.depth());
  const ProductTable table = draw_table(-16384, 16384);
  std::vector<int32_t> wanted(s.rows() * filters), got(wanted.size());
  const Scale scale(filters);
  std::vector<int8_t> wanted_codes(wanted.size()), got_codes(wanted.size());
  for (int64_t row = 0; row < s.rows(); ++row)
    for (int f = 0; f < filters; ++f) {
      const int32_t sum = sum_at<int8_t, int32_t>(
          s, input, row, zero, 0, s.in_channels, [&](int8_t a, int tap, int c) {
            const int8_t w = weights[(int64_t{f} * s.depth()) + tap * s.in_channels + c];
            if (!looked_up) return (a - zero) * w;
            return table[static_cast<uint8_t>(a) * 256 + static_cast<uint8_t>(w)] - zero * w;
          });
      wanted[row * filters + f] = sum;
      wanted_codes[row * filters + f] = scale.output(sum, f);
    }
  Workspace work;
  if (looked_up) {
    const PackedTable packed(weights.data(), filters, s.depth(), table);
    convolve(input.data(), s, zero, packed, got.data(), work);
    convolve(input.data(), s, zero, packed, scale.view, got_codes.data(), work);
  } else {
    const PackedInt8 packed(weights.data(), filters, s.depth());
    convolve(input.data(), s, zero, packed, got.data(), work);
    convolve(input.data(), s, zero, packed, scale.view, got_codes.data(), work);
  }
  const std::string text = std::to_string(s.rows()) + " rows";
  expect_equal(looked_up ? "table convolution's sums" : "convolution's sums", got, wanted, text);
  expect_equal(looked_up ? "table convolution" : "convolution", got_codes, wanted_codes, text);
}

void check_depthwise(bool looked_up) {
  const ConvShape s = draw_convolution(70);
  const int multiplier = draw(0, 2) ? 1 : draw(2, 3);
  const int channels = s.in_channels * multiplier;
  const int taps = s.kernel_height * s.kernel_width;
  const auto zero = static_cast<int8_t>(draw(-128, 127));
  const auto input = codes(int64_t{s.batches} * s.in_height * s.in_width * s.in_channels);
  const auto weights = codes(int64_t{taps} * channels);
  const ProductTable table = draw_table(-16384, 16384);
  const PackedDepthwise packed(weights.data(), taps, channels, looked_up ? &table : nullptr);
  std::vector<int32_t> wanted(s.rows() * channels), got(wanted.size());
  const Scale scale(channels);
  std::vector<int8_t> wanted_codes(wanted.size()), got_codes(wanted.size());
  for (int64_t row = 0; row < s.rows(); ++row)
    for (int c = 0; c < channels; ++c) {
      const int32_t sum = sum_at<int8_t, int32_t>(
          s, input, row, zero, c / multiplier, 1, [&](int8_t a, int tap, int) {
            const int8_t w = weights[int64_t{tap} * channels + c];
            if (!looked_up) return (a - zero) * w;
            return table[static_cast<uint8_t>(a) * 256 + static_cast<uint8_t>(w)] - zero * w;
          });
      wanted[row * channels + c] = sum;
      wanted_codes[row * channels + c] = scale.output(sum, c);
    }
  Workspace work;
  convolve(input.data(), s, zero, packed, got.data(), work);
  convolve(input.data(), s, zero, packed, scale.view, got_codes.data(), work);
  const std::string text = std::to_string(channels) + " channels";
  expect_equal("depthwise sums", got, wanted, text);
  expect_equal("depthwise", got_codes, wanted_codes, text);
}

void check_float_convolution() {
  const ConvShape s = draw_convolution(20);
  const int filters = draw(1, 40);
  std::normal_distribution<float> normal;
  std::vector<float> input(int64_t{s.batches} * s.in_height * s.in_width * s.in_channels);
  std::vector<float> weights(int64_t{filters} * s.depth()), biases(filters);
  for (auto* values : {&input, &weights, &biases})
    for (auto& value : *values) value = normal(generator);
  const PackedFloat packed(weights.data(), filters, s.depth());
  std::vector<float> got(s.rows() * filters);
  Workspace work;
  convolve(input.data(), s, packed, biases.data(), 0.0f, 6.0f, got.data(), work);
  for (int64_t row = 0; row < s.rows(); ++row)
    for (int f = 0; f < filters; ++f, ++compared) {
      const double sum = sum_at<float, double>(
          s, input, row, 0.0f, 0, s.in_channels, [&](float a, int tap, int c) {
            return double{a} * weights[int64_t{f} * s.depth() + tap * s.in_channels + c];
          });
      const double wanted = std::min(std::max(sum + biases[f], 0.0), 6.0);
      if (std::fabs(got[row * filters + f] - wanted) <= 1e-4) continue;
      std::printf("float32 convolution: %g, not %g\n", got[row * filters + f], wanted);
      ++failures;
      return;
    }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && !std::strcmp(argv[1], "names")) {
    for (auto name = kernel_names(); *name; ++name) std::puts(*name);
    return 0;
  }
  if (argc != 3 || !use_kernels(argv[1]) || std::strcmp(kernel_name(), argv[1])) {
    std::puts("no such kernels");
    return 2;
  }
  generator.seed(static_cast<unsigned>(std::atoi(argv[2])));
  check_rounding();
  for (int round = 0; round < 40; ++round) {
    check_int8(round % 4 ? 70 : 600, round % 2 ? -127 : -128);
    check_table(round % 4 ? 40 : 600, -32768, 32767);
    check_float(round % 4 ? 70 : 600);
    check_convolution(round % 2);
    check_depthwise(round % 2);
    check_float_convolution();
    for (int i = 0; i < 20; ++i) check_requantize();
  }
  check_table(70, -70000, 70000);
  check_table(70, 0, 32768);
  check_int8(25600, -128);
  check_table(4000, 32767, 32767);
  check_table(4000, -32768, -32768);
  std::printf("%s: %ld values, %d failures\n", argv[1], compared, failures);
  return failures ? 1 : 0;
}
