#include "arithmetic.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <vector>

namespace edgekit {
namespace {

constexpr int kLargestProduct = 1 << 16;  // what a table may hold: 16-bit unsigned products

[[noreturn]] void refuse(const std::string& thing, const std::string& value,
                         const std::string& rule) {
  throw std::invalid_argument("NEPU option " + thing + ": " + rule + ". Received: '" + value + "'");
}

long whole(const std::string& key, const std::string& text, long least, long most) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value < least || value > most) {
    refuse(key, text,
           "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

uint64_t seed_number(const std::string& key, const std::string& text) {
  char* end = nullptr;
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  errno = 0;
  const uint64_t value = digits ? std::strtoull(text.c_str(), &end, 10) : 0;
  if (!digits || errno == ERANGE) refuse(key, text, "must be a whole number from 0 to 2^64 - 1");
  return value;
}

double fraction(const std::string& key, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= 0 && value <= 1)) {
    refuse(key, text, "must be a number from 0 to 1");
  }
  return value;
}

bool truth(const std::string& key, const std::string& text) {
  if (text == "True" || text == "true" || text == "1") return true;
  if (text == "False" || text == "false" || text == "0") return false;
  refuse(key, text, "must be true or false");
}

std::string choice(const std::string& key, const std::string& text, const std::string& one,
                   const std::string& other) {
  if (text == one || text == other) return text;
  refuse(key, text, "must be " + one + " or " + other);
}

// Major and minor of "2.14.0"; anything else counts as the newest.
std::pair<int, int> release(const std::string& version) {
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2) return {1 << 20, 0};
  return {major, minor};
}

// Releases since TensorFlow's change of April 2025 round FULLY_CONNECTED's sums in double.
bool rounds_in_double(const std::string& runtime, const std::string& version) {
  if (runtime == "litert" || runtime == "ai-edge-litert") {
    return release(version) >= std::pair(1, 3);
  }
  if (runtime == "tensorflow") return release(version) >= std::pair(2, 20);
  return false;
}

int bits_of(unsigned value) {
  int bits = 0;
  while (value >> bits) ++bits;
  return bits;
}

// DRUM: k bits from the leading one, the lowest of them forced to 1; exact below 2^k
// (Hashemi, Bahar and Reda, ICCAD 2015, section II).
unsigned drum_operand(unsigned value, int k, int* shift) {
  *shift = std::max(0, bits_of(value) - k);
  return *shift == 0 ? value : (value >> *shift) | 1;
}

int32_t drum(unsigned a, unsigned b, int k) {
  int shift_a, shift_b;
  const unsigned short_a = drum_operand(a, k, &shift_a);
  const unsigned short_b = drum_operand(b, k, &shift_b);
  return static_cast<int32_t>((short_a * short_b) << (shift_a + shift_b));
}

// Mitchell: logarithms and antilogarithm approximated by straight lines between powers of two
// (Mitchell, IRE Trans. Electronic Computers 1962, equations 24 and 25), product truncated.
int32_t mitchell(unsigned a, unsigned b) {
  if (a == 0 || b == 0) return 0;
  const int ka = bits_of(a) - 1, kb = bits_of(b) - 1;
  // In units of 2^(ka + kb): the mantissas' fractions are x_a and x_b.
  const int64_t unit = int64_t{1} << (ka + kb);
  const int64_t xa = (int64_t{a} - (1 << ka)) << kb, xb = (int64_t{b} - (1 << kb)) << ka;
  const int64_t product = xa + xb < unit ? unit + xa + xb : 2 * (xa + xb);
  return static_cast<int32_t>(product);
}

// The exact product without its k low bits.
int32_t truncated(unsigned a, unsigned b, int k) {
  return static_cast<int32_t>((a * b) >> k << k);
}

int argument(const std::string& multiplier, const std::string& name, int least, int most) {
  const std::string inside = multiplier.substr(name.size() + 1, multiplier.size() - name.size() - 2);
  return static_cast<int>(whole("multiplier " + name, inside, least, most));
}

bool is_call(const std::string& text, const std::string& name) {
  return text.rfind(name + "(", 0) == 0 && text.back() == ')';
}

std::shared_ptr<const ProductTable> read_table(const std::string& path) {
  const std::string key = "multiplier table";
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) refuse(key, path, "the file cannot be opened; make it with edgekit-agent product-table");
  auto table = std::make_shared<ProductTable>();
  const size_t read = std::fread(table->data(), sizeof(int32_t), table->size(), file);
  const bool whole_file = read == table->size() && std::fgetc(file) == EOF;
  std::fclose(file);
  if (!whole_file) {
    refuse(key, path,
           "the file must hold 256 x 256 little-endian int32 products, 262144 bytes; make it with "
           "edgekit-agent product-table");
  }
  for (const int32_t product : *table) {
    if (std::abs(int64_t{product}) > kLargestProduct) {
      refuse(key, path, "a product of 8-bit operands lies between -65536 and 65536, not at " +
                            std::to_string(product));
    }
  }
  return table;
}

std::string known_kernels() {
  std::string names;
  for (const char* const* name = kernel_names(); *name; ++name) {
    (names += names.empty() ? "" : ", ") += *name;
  }
  return names;
}

uint64_t mix(uint64_t x) {  // the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

MagnitudeProduct magnitude_product(const std::string& multiplier) {
  if (multiplier == "exact") return [](unsigned a, unsigned b) { return int32_t(a * b); };
  if (multiplier == "mitchell") return mitchell;
  if (is_call(multiplier, "truncated")) {
    const int k = argument(multiplier, "truncated", 0, 14);
    return [k](unsigned a, unsigned b) { return truncated(a, b, k); };
  }
  if (is_call(multiplier, "drum")) {
    const int k = argument(multiplier, "drum", 2, 8);
    return [k](unsigned a, unsigned b) { return drum(a, b, k); };
  }
  refuse("multiplier", multiplier,
         "must be exact, truncated(0 to 14), drum(2 to 8), mitchell or table(FILE)");
}

std::shared_ptr<const ProductTable> make_products(const std::string& multiplier) {
  if (multiplier == "exact") return nullptr;
  if (is_call(multiplier, "table")) return read_table(multiplier.substr(6, multiplier.size() - 7));
  // A design for unsigned operands stands between signs and magnitudes.
  const MagnitudeProduct product = magnitude_product(multiplier);
  auto table = std::make_shared<ProductTable>();
  for (int a = -128; a < 128; ++a) {
    for (int w = -128; w < 128; ++w) {
      const int32_t magnitude = product(unsigned(std::abs(a)), unsigned(std::abs(w)));
      (*table)[uint8_t(a) * 256 + uint8_t(w)] = (a < 0) != (w < 0) ? -magnitude : magnitude;
    }
  }
  return table;
}

Options parse_options(const char* const* keys, const char* const* values, size_t count) {
  Options options;
  Arithmetic& arithmetic = options.arithmetic;
  std::string runtime, version;
  for (size_t i = 0; i < count; ++i) {
    const std::string key = keys[i] ? keys[i] : "", value = values[i] ? values[i] : "";
    if (key == "weight_bits") {
      arithmetic.weight_bits = int(whole(key, value, 2, 8));
    } else if (key == "activation_bits") {
      arithmetic.activation_bits = int(whole(key, value, 2, 8));
    } else if (key == "accumulator_bits") {
      arithmetic.accumulator_bits = int(whole(key, value, 16, 32));
    } else if (key == "accumulator_overflow") {
      arithmetic.wraps = choice(key, value, "saturate", "wrap") == "wrap";
    } else if (key == "multiplier") {
      arithmetic.multiplier = value;
    } else if (key == "noise") {
      arithmetic.noise = fraction(key, value);
    } else if (key == "seed") {
      arithmetic.seed = seed_number(key, value);
    } else if (key == "skip_zero_weights") {
      arithmetic.skip_zero_weights = truth(key, value);
    } else if (key == "skip_zero_activations") {
      arithmetic.skip_zero_activations = truth(key, value);
    } else if (key == "kernels") {
      if (!use_kernels(value.c_str())) {
        refuse(key, value, "must be auto or one that this processor has: " + known_kernels());
      }
      options.kernels = value;
    } else if (key == "runtime") {
      runtime = value;
    } else if (key == "runtime_version") {
      version = value;
    } else {
      refuse(key.empty() ? "''" : key, value,
             "is not known; known are weight_bits, activation_bits, accumulator_bits, "
             "accumulator_overflow, multiplier, noise, seed, skip_zero_weights, "
             "skip_zero_activations, runtime, runtime_version and kernels");
    }
  }
  arithmetic.products = make_products(arithmetic.multiplier);
  options.rounds_in_double = rounds_in_double(runtime, version);
  return options;
}

int8_t on_grid(int code, int bits) {
  const int dropped = 8 - bits;
  if (dropped == 0) return static_cast<int8_t>(code);
  const int half = 1 << (dropped - 1), most = (1 << (bits - 1)) - 1;
  const int step = std::clamp((code + half) >> dropped, -most - 1, most);
  return static_cast<int8_t>(step * (1 << dropped));
}

double normal(uint64_t seed, uint64_t node, uint64_t run, uint64_t element) {
  const uint64_t base = mix(mix(mix(mix(seed) ^ node) ^ run) ^ element);
  const double unit = 0x1p-53;
  const double u = (double(mix(base) >> 11) + 1) * unit;  // (0, 1]
  const double v = double(mix(base ^ 0x5851F42D4C957F2Du) >> 11) * unit;
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * 3.14159265358979323846 * v);
}

Multiplier quantize_multiplier(double real) {
  if (real == 0 || !std::isfinite(real)) return {0, 0};
  int shift = 0;
  int64_t value = static_cast<int64_t>(std::round(std::frexp(real, &shift) * double(int64_t{1} << 31)));
  if (value == int64_t{1} << 31) {
    value /= 2;
    ++shift;
  }
  if (shift < -31) return {0, 0};
  // The runtime shifts by at most 31 too: what lies above takes every sum but 0 out of range.
  return {static_cast<int32_t>(value), std::min(shift, 31)};
}

Range activation_range(TfLiteFusedActivation activation, float scale, int32_t zero_point) {
  const auto code = [&](float value) {
    const double steps = std::round(value / scale);
    return static_cast<int32_t>(std::clamp(steps + zero_point, -128.0, 127.0));
  };
  switch (activation) {
    case kTfLiteActRelu:
      return {code(0), 127};
    case kTfLiteActRelu6:
      return {code(0), code(6)};
    case kTfLiteActReluN1To1:
      return {code(-1), code(1)};
    default:
      return {-128, 127};
  }
}

}  // namespace edgekit
