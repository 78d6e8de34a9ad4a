// The device's arithmetic: how operands, products, sums and their rescaling are computed.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "gemm.h"
#include "tflite_abi.h"

namespace edgekit {

struct Arithmetic {
  int weight_bits = 8;
  int activation_bits = 8;
  int accumulator_bits = 32;
  bool wraps = false;  // at the accumulator's limits; else it saturates
  std::string multiplier = "exact";
  std::shared_ptr<const ProductTable> products;  // none: exact
  double noise = 0;  // standard deviation of one product, relative to the largest, 2^14
  uint64_t seed = 0;
  bool skip_zero_weights = false;
  bool skip_zero_activations = false;

  bool skips() const { return skip_zero_weights || skip_zero_activations; }
  // What changes no result may be on in exact arithmetic: skipping an exact zero only counts it.
  bool exact() const {
    return weight_bits == 8 && activation_bits == 8 && accumulator_bits == 32 && !products &&
           noise == 0;
  }
};

struct Options {
  Arithmetic arithmetic;
  // Whether the runtime's FULLY_CONNECTED reference kernel rounds in double (since April 2025).
  bool rounds_in_double = false;
  std::string kernels = "auto";  // the instruction set, for tests and measurements
};

// Reads the pairs that a runtime hands over; throws std::invalid_argument with a sentence.
Options parse_options(const char* const* keys, const char* const* values, size_t count);

// The 256x256 products of "truncated(k)", "drum(k)", "mitchell", "table(PATH)"; null for "exact".
std::shared_ptr<const ProductTable> make_products(const std::string& multiplier);

// The product of unsigned operands of "exact", "truncated(k)", "drum(k)" or "mitchell".
using MagnitudeProduct = std::function<int32_t(unsigned, unsigned)>;
MagnitudeProduct magnitude_product(const std::string& multiplier);

// The code on the grid of `bits` bits: low bits dropped after rounding half up.
int8_t on_grid(int code, int bits);

// A number of mean 0 and variance 1 that depends on the arguments alone (Box and Muller 1958).
double normal(uint64_t seed, uint64_t node, uint64_t run, uint64_t element);

struct Multiplier {  // real value: value * 2^(shift - 31)
  int32_t value;
  int32_t shift;
};

// The multiplier nearest to a real number, as TFLite's QuantizeMultiplier finds it.
Multiplier quantize_multiplier(double real);

inline int32_t wrapping_shift_left(int32_t x, int shift) {
  return static_cast<int32_t>(static_cast<uint32_t>(x) << shift);
}

// round(a * b / 2^31), ties upwards, saturating (ARM's SQRDMULH).
inline int32_t high_product(int32_t a, int32_t b) {
  if (a == b && a == INT32_MIN) return INT32_MAX;
  const int64_t product = int64_t{a} * b;
  const int64_t nudge = product >= 0 ? (int64_t{1} << 30) : 1 - (int64_t{1} << 30);
  return static_cast<int32_t>((product + nudge) / (int64_t{1} << 31));
}

// round(x / 2^exponent), ties away from zero.
inline int32_t rounding_shift_right(int32_t x, int exponent) {
  const int64_t mask = (int64_t{1} << exponent) - 1;
  const int64_t remainder = int64_t{x} & mask;
  const int64_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return static_cast<int32_t>((int64_t{x} >> exponent) + (remainder > threshold ? 1 : 0));
}

// x times the multiplier in TFLite's fixed point, which rounds twice.
inline int32_t scale(int32_t x, Multiplier by) {
  const int left = by.shift > 0 ? by.shift : 0;
  const int right = by.shift > 0 ? 0 : -by.shift;
  return rounding_shift_right(high_product(wrapping_shift_left(x, left), by.value), right);
}

struct Range {
  int32_t low, high;
};

// The output codes that a fused activation leaves.
Range activation_range(TfLiteFusedActivation activation, float scale, int32_t zero_point);

}  // namespace edgekit
