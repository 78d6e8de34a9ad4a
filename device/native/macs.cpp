// The convolution family: gathered rows times filters, in the device's arithmetic.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "operators.h"

namespace edgekit {
namespace {

constexpr int64_t kLargestProduct = 1 << 14;  // of two 8-bit codes: what noise is relative to
constexpr int kRowsAtATime = 96;
constexpr int kCheckedRows = 8;  // whose sums stay in the first-level cache

// An accumulator's limits: what a sum becomes when a product takes it past them.
struct Limits {
  int bits;
  bool wraps;

  int64_t most() const { return (int64_t{1} << (bits - 1)) - 1; }
  int64_t bring_back(int64_t sum) const {
    if (!wraps) return std::clamp(sum, -most() - 1, most());
    const int unused = 64 - bits;
    return static_cast<int64_t>(static_cast<uint64_t>(sum) << unused) >> unused;
  }
};

// Adds factor * values to sums, each brought back into the limits of at most 30 bits, and counts
// how often that changed a sum. Inlined into functions for several instruction sets.
template <typename Value>
__attribute__((always_inline)) inline void add_checked_body(Limits limits, int32_t factor,
                                                            const Value* __restrict values,
                                                            int count, int32_t* __restrict sums,
                                                            int32_t* __restrict changed) {
  const int32_t most = static_cast<int32_t>((int64_t{1} << (limits.bits - 1)) - 1);
  const int32_t least = -most - 1;
  if (limits.wraps) {
    const int unused = 32 - limits.bits;
    for (int i = 0; i < count; ++i) {
      const int32_t sum = sums[i] + factor * values[i];
      const int32_t kept = static_cast<int32_t>(static_cast<uint32_t>(sum) << unused) >> unused;
      changed[i] += kept != sum;
      sums[i] = kept;
    }
    return;
  }
  for (int i = 0; i < count; ++i) {
    const int32_t sum = sums[i] + factor * values[i];
    const int32_t raised = sum < least ? least : sum;
    const int32_t kept = raised > most ? most : raised;
    changed[i] += kept != sum;
    sums[i] = kept;
  }
}

#if defined(__x86_64__)
template <typename Value>
__attribute__((target("avx2"))) void add_checked_avx2(Limits limits, int32_t factor,
                                                      const Value* values, int count,
                                                      int32_t* sums, int32_t* changed) {
  add_checked_body(limits, factor, values, count, sums, changed);
}

bool has_avx2() {
  for (const char* const* name = kernel_names(); *name; ++name) {
    if (std::strcmp(*name, "avx2") == 0) return true;
  }
  return false;
}
#endif

template <typename Value>
void add_checked(Limits limits, int32_t factor, const Value* values, int count, int32_t* sums,
                 int32_t* changed) {
#if defined(__x86_64__)
  static const bool avx2 = has_avx2();
  if (avx2) return add_checked_avx2(limits, factor, values, count, sums, changed);
#endif
  add_checked_body(limits, factor, values, count, sums, changed);
}

// What the products of one node add up to, beside their exact sum.
struct Products {
  const Arithmetic* arithmetic;
  int32_t zero;  // the activations' zero point, on their grid
  std::shared_ptr<const ProductTable> table;  // null: exact

  Products(const Arithmetic& used, int32_t zero_point)
      : arithmetic(&used), zero(on_grid(zero_point, used.activation_bits)), table(used.products) {
    if (!table || !used.skips()) return;
    // A skipped product adds nothing, so its raw product is the zero point's correction.
    auto skipping = std::make_shared<ProductTable>(*table);
    for (int code = 0; code < 256; ++code) {
      if (used.skip_zero_weights) (*skipping)[code * 256] = 0;
      if (used.skip_zero_activations) {
        (*skipping)[uint8_t(zero) * 256 + code] = zero * int8_t(code);
      }
    }
    table = skipping;
  }

  // One product, its zero point corrected.
  int32_t of(int8_t activation, int8_t weight) const {
    const int32_t raw = table ? (*table)[uint8_t(activation) * 256 + uint8_t(weight)]
                              : int32_t{activation} * weight;
    return raw - zero * weight;
  }

  // The largest magnitude of a product with each weight code.
  std::array<int64_t, 256> bounds() const {
    std::array<int64_t, 256> largest{};
    for (int w = -128; w < 128; ++w) {
      for (int a = -128; a < 128; ++a) {
        largest[uint8_t(w)] =
            std::max<int64_t>(largest[uint8_t(w)], std::abs(of(int8_t(a), int8_t(w))));
      }
    }
    return largest;
  }
};

int32_t noise_of(const Arithmetic& arithmetic, NoiseKey key, uint64_t element, int64_t products) {
  const double deviation =
      arithmetic.noise * double(kLargestProduct) * std::sqrt(double(products));
  return static_cast<int32_t>(
      std::llround(deviation * normal(arithmetic.seed, key.node, key.run, element)));
}

// Rescales sums to output codes, as the runtime does for this operator.
struct Rescaling {
  std::vector<int32_t> multipliers, shifts;
  std::vector<double> real;  // not empty: rounded in double
  int32_t zero;
  Range range;

  Requantization with(const int32_t* biases) const {
    return {biases, multipliers.data(), shifts.data(), zero, range.low, range.high};
  }

  void apply(const int32_t* sums, int rows, int filters, const int32_t* biases, int8_t* out,
             int64_t out_stride) const {
    if (real.empty()) {
      requantize(sums, rows, filters, filters, biases, multipliers.data(), shifts.data(), zero,
                 range.low, range.high, out, out_stride);
      return;
    }
    for (int row = 0; row < rows; ++row) {
      for (int f = 0; f < filters; ++f) {
        const int32_t sum = sums[int64_t{row} * filters + f] + (biases ? biases[f] : 0);
        const double code = std::round(sum * real[f]) + zero;
        out[row * out_stride + f] = static_cast<int8_t>(
            std::clamp(code, double(range.low), double(range.high)));
      }
    }
  }
};

Rescaling rescaling(const Tensor& input, const Tensor& weights, const Tensor& output, int filters,
                    TfLiteFusedActivation activation, bool dense, bool in_double) {
  Rescaling made;
  made.zero = output.zero();
  made.range = activation_range(activation, output.scale(), output.zero());
  const std::vector<float> scales = channel_scales(weights.described);
  for (int f = 0; f < filters; ++f) {
    const float weight_scale = scales.size() == 1 ? scales[0] : scales[f];
    double real = double(input.scale()) * double(weight_scale) / double(output.scale());
    // The runtime multiplies a dense layer's two input scales as floats, unless by channel.
    if (dense && !in_double && scales.size() == 1) {
      real = double(input.scale() * weight_scale) / double(output.scale());
    }
    const Multiplier multiplier = quantize_multiplier(real);
    made.multipliers.push_back(multiplier.value);
    made.shifts.push_back(multiplier.shift);
    if (dense && in_double) made.real.push_back(real);
  }
  return made;
}

// Filters of one set of weights, and the sums of their products with rows of activation codes.
class Filters {
 public:
  Filters(std::vector<int8_t> weights, int filters, int depth, const Products& products,
          const int32_t* biases)
      : filters_(filters), depth_(depth), products_(products), weights_(std::move(weights)) {
    const Arithmetic& arithmetic = *products_.arithmetic;
    for (int8_t& weight : weights_) weight = on_grid(weight, arithmetic.weight_bits);
    const std::array<int64_t, 256> bounds = products_.bounds();
    for (int f = 0; f < filters_; ++f) {
      int64_t total = 0, bound = 0;
      for (int d = 0; d < depth_; ++d) {
        const int8_t weight = weights_[int64_t{f} * depth_ + d];
        total += weight;
        bound += bounds[uint8_t(weight)];
      }
      const int32_t bias = biases ? biases[f] : 0;
      biases_.push_back(bias);
      folded_.push_back(
          static_cast<int32_t>(static_cast<uint32_t>(bias - products_.zero * total)));
      bounds_.push_back(bound);
    }
    if (depth_ > 0 && products_.table) {
      table_ = std::make_unique<PackedTable>(weights_.data(), filters_, depth_, *products_.table);
    } else if (depth_ > 0) {
      exact_ = std::make_unique<PackedInt8>(weights_.data(), filters_, depth_);
    }
    if (arithmetic.skips()) {
      std::vector<int8_t> present(weights_.size(), 1);
      for (size_t i = 0; arithmetic.skip_zero_weights && i < present.size(); ++i) {
        present[i] = weights_[i] != 0;
      }
      column_present_.assign(depth_, 0);
      for (int64_t i = 0; i < int64_t(present.size()); ++i) {
        column_present_[i % depth_] += present[i];
      }
      if (depth_ > 0) present_ = std::make_unique<PackedInt8>(present.data(), filters_, depth_);
    }
    limits_ = {arithmetic.accumulator_bits, arithmetic.wraps};
    for (int f = 0; f < filters_; ++f) may_overflow_ |= overflows(f, 0);
    if (plain()) return;
    for (int d = 0; d < depth_; ++d) {
      for (int f = 0; f < filters_; ++f) across_.push_back(weights_[int64_t{f} * depth_ + d]);
    }
  }

  int depth() const { return depth_; }

  // Whether sums need neither noise nor a check after every product.
  bool plain() const { return products_.arithmetic->noise == 0 && !may_overflow_; }

  // A whole convolution whose sums are plain.
  void convolve_plainly(const int8_t* input, const ConvShape& shape, const Requantization& scale,
                        int8_t* output, Workspace& workspace) const {
    if (table_) {
      convolve(input, shape, products_.zero, *table_, scale, output, workspace);
    } else {
      convolve(input, shape, products_.zero, *exact_, scale, output, workspace);
    }
  }
  const int32_t* biases() const { return biases_.data(); }

  // Sums without what only `biases_to_add` adds: raw codes' sums where nothing else is asked for.
  // `present` marks codes that are neither padding nor skipped; `in_image` counts each row's
  // products that are not padding; both are needed for noise and skipping only.
  void sum(const int8_t* rows, int count, int64_t stride, const int8_t* present,
           const int64_t* in_image, const int64_t* first_element, NoiseKey key, int32_t* sums,
           Counts* counts) {
    const Arithmetic& arithmetic = *products_.arithmetic;
    if (arithmetic.skips()) count_skipped(present, count, in_image, counts);
    const bool noisy = arithmetic.noise > 0;
    if (plain()) {
      multiply_all(rows, count, stride, sums);
      return;
    }
    for (int first = 0; first < count; first += kCheckedRows) {
      const int some = std::min(kCheckedRows, count - first);
      const int8_t* block = rows + first * stride;
      int32_t* out = sums + int64_t{first} * filters_;
      bool slow = may_overflow_;
      starts_.assign(int64_t{some} * filters_, 0);
      for (int row = 0; row < some; ++row) {
        const int at = first + row;
        if (noisy) count_active(present, at, in_image);
        for (int f = 0; f < filters_; ++f) {
          const int32_t noise =
              noisy ? noise_of(arithmetic, key, first_element[at] + f, active_[f]) : 0;
          starts_[int64_t{row} * filters_ + f] = int64_t{biases_[f]} + noise;
          slow |= overflows(f, noise);
        }
      }
      if (slow) {
        for (size_t i = 0; i < starts_.size(); ++i) {
          out[i] = static_cast<int32_t>(limits_.bring_back(starts_[i]));
        }
        add_checked_rows(block, some, stride, out, counts);
        continue;
      }
      multiply_all(block, some, stride, out);
      for (int64_t i = 0; i < int64_t(starts_.size()); ++i) {
        const int64_t f = i % filters_;
        out[i] += static_cast<int32_t>(starts_[i] - biases_[f]) + folded_[f];
      }
    }
  }

  // What is still to add to the sums: biases and the zero point's correction, or nothing.
  const int32_t* biases_to_add() const {
    return plain() ? folded_.data() : nullptr;
  }

 private:
  bool overflows(int f, int64_t noise) const {
    return std::abs(int64_t{biases_[f]} + noise) + bounds_[f] > limits_.most();
  }

  void multiply_all(const int8_t* rows, int count, int64_t stride, int32_t* sums) {
    if (table_) {
      multiply(rows, count, stride, *table_, sums, filters_);
    } else if (exact_) {
      multiply(rows, count, stride, *exact_, sums, filters_);
    } else {
      std::fill_n(sums, int64_t{count} * filters_, 0);
    }
  }

  // Some rows, every sum checked after every product; `sums` holds what they start with.
  void add_checked_rows(const int8_t* rows, int count, int64_t stride, int32_t* sums,
                        Counts* counts) {
    changed_.assign(filters_, 0);
    net_.resize(filters_);
    for (int d = 0; d < depth_; ++d) {
      const int16_t* weights = across_.data() + int64_t{d} * filters_;
      for (int row = 0; row < count; ++row) {
        const int8_t activation = rows[row * stride + d];
        int32_t* to = sums + int64_t{row} * filters_;
        if (limits_.bits > 30) {  // sums that leave 32 bits
          for (int f = 0; f < filters_; ++f) {
            const int64_t sum = int64_t{to[f]} + products_.of(activation, int8_t(weights[f]));
            const int64_t kept = limits_.bring_back(sum);
            changed_[f] += kept != sum;
            to[f] = static_cast<int32_t>(kept);
          }
        } else if (products_.table) {
          const int32_t* looked_up = products_.table->data() + uint8_t(activation) * 256;
          for (int f = 0; f < filters_; ++f) {
            net_[f] = looked_up[uint8_t(weights[f])] - products_.zero * weights[f];
          }
          add_checked(limits_, 1, net_.data(), filters_, to, changed_.data());
        } else {
          add_checked(limits_, activation - products_.zero, weights, filters_, to, changed_.data());
        }
      }
    }
    for (const int32_t changed : changed_) counts->saturations += changed;
  }

  // How many of a row's products are neither padding nor skipped, by filter.
  void count_active(const int8_t* present, int row, const int64_t* in_image) {
    active_.assign(filters_, 0);
    if (!products_.arithmetic->skips()) {
      active_.assign(filters_, static_cast<int32_t>(in_image[row]));
    } else if (depth_ > 0) {
      multiply(present + int64_t{row} * depth_, 1, depth_, *present_, active_.data(), filters_);
    }
  }

  void count_skipped(const int8_t* present, int count, const int64_t* in_image, Counts* counts) {
    for (int row = 0; row < count; ++row) {
      int64_t active = 0;
      for (int d = 0; d < depth_; ++d) {
        active += present[int64_t{row} * depth_ + d] * column_present_[d];
      }
      counts->skipped_macs += in_image[row] * filters_ - active;
    }
  }

  int filters_, depth_;
  Products products_;
  std::vector<int8_t> weights_;  // [filters][depth]
  std::vector<int16_t> across_;  // [depth][filters], where sums are checked one by one
  std::vector<int32_t> biases_, folded_;
  std::vector<int64_t> bounds_, column_present_;
  std::unique_ptr<PackedInt8> exact_, present_;
  std::unique_ptr<PackedTable> table_;
  Limits limits_{32, false};
  bool may_overflow_ = false;
  std::vector<int64_t> starts_;
  std::vector<int32_t> active_, net_, changed_;
};

// Where the taps of a filter read along one dimension: positions[output][tap], -1 outside.
struct Taps {
  std::vector<int> outputs, kernel;
  std::vector<std::vector<int>> positions;

  int64_t inside() const {
    int64_t count = 0;
    for (const auto& row : positions) {
      count += std::count_if(row.begin(), row.end(), [](int at) { return at >= 0; });
    }
    return count;
  }
};

Taps convolution_taps(int in, int filter, int stride, int dilation, Window window) {
  Taps taps;
  for (int k = 0; k < filter; ++k) taps.kernel.push_back(k);
  for (int out = 0; out < window.out; ++out) {
    taps.outputs.push_back(out);
    taps.positions.emplace_back();
    for (int k = 0; k < filter; ++k) {
      const int at = out * stride - window.before + k * dilation;
      taps.positions.back().push_back(at >= 0 && at < in ? at : -1);
    }
  }
  return taps;
}

// A transposed convolution's outputs that share their taps: those of one phase of the stride.
Taps transposed_taps(int in, int filter, int stride, Window window, int phase) {
  Taps taps;
  for (int k = 0; k < filter; ++k) {
    if ((phase + window.before - k) % stride == 0) taps.kernel.push_back(k);
  }
  for (int out = phase; out < window.out; out += stride) {
    taps.outputs.push_back(out);
    taps.positions.emplace_back();
    for (const int k : taps.kernel) {
      const int scaled = out + window.before - k;
      const int at = scaled >= 0 ? scaled / stride : -1;
      taps.positions.back().push_back(at < in ? at : -1);
    }
  }
  return taps;
}

// Outputs that read through the same taps, and the filters' weights under those taps.
struct Phase {
  Taps y, x;
  std::unique_ptr<Filters> codes;
  std::unique_ptr<PackedFloat> floats;  // none where no tap is left
};

struct Geometry {
  int batches, in_height, in_width, in_channels, out_height, out_width, filters;
};

template <typename T>
void gather(const T* image, const Geometry& g, const Phase& phase, int y, int x, T padding, T* row) {
  const int channels = g.in_channels;
  for (const int in_y : phase.y.positions[y]) {
    const std::vector<int>& columns = phase.x.positions[x];
    for (size_t k = 0; k < columns.size(); ++k, row += channels) {
      if (in_y < 0 || columns[k] < 0) {
        std::fill_n(row, channels, padding);
      } else {
        std::memcpy(row, image + (int64_t{in_y} * g.in_width + columns[k]) * channels,
                    channels * sizeof(T));
      }
    }
  }
}

// Copies the weights under a phase's taps, [filters][taps][channels].
template <typename T>
std::vector<T> weights_under(const T* weights, int filters, int height, int width, int channels,
                             const Phase& phase) {
  std::vector<T> taken;
  for (int f = 0; f < filters; ++f) {
    for (const int ky : phase.y.kernel) {
      for (const int kx : phase.x.kernel) {
        const T* tap = weights + ((int64_t{f} * height + ky) * width + kx) * channels;
        taken.insert(taken.end(), tap, tap + channels);
      }
    }
  }
  return taken;
}

struct Settings {
  TfLitePadding padding = kTfLitePaddingValid;
  int stride_height = 1, stride_width = 1, dilation_height = 1, dilation_width = 1;
  TfLiteFusedActivation activation = kTfLiteActNone;
};

Settings settings_of(const NodeView& node) {
  switch (node.builtin) {
    case kConv2d: {
      const auto* p = static_cast<const TfLiteConvParams*>(node.params);
      return {p->padding,                p->stride_height,         p->stride_width,
              p->dilation_height_factor, p->dilation_width_factor, p->activation};
    }
    case kDepthwiseConv2d: {
      const auto* p = static_cast<const TfLiteDepthwiseConvParams*>(node.params);
      return {p->padding,                p->stride_height,         p->stride_width,
              p->dilation_height_factor, p->dilation_width_factor, p->activation};
    }
    case kTransposeConv: {
      const auto* p = static_cast<const TfLiteTransposeConvParams*>(node.params);
      return {p->padding, p->stride_height, p->stride_width, 1, 1, p->activation};
    }
    default: {
      Settings settings;
      settings.activation = static_cast<const TfLiteFullyConnectedParams*>(node.params)->activation;
      return settings;
    }
  }
}

ConvShape shape_of(const Geometry& g, const Settings& settings, int kernel_height,
                   int kernel_width, Window y, Window x) {
  ConvShape shape;
  shape.batches = g.batches, shape.in_height = g.in_height, shape.in_width = g.in_width;
  shape.in_channels = g.in_channels, shape.out_height = g.out_height, shape.out_width = g.out_width;
  shape.kernel_height = kernel_height, shape.kernel_width = kernel_width;
  shape.stride_height = settings.stride_height, shape.stride_width = settings.stride_width;
  shape.dilation_height = settings.dilation_height, shape.dilation_width = settings.dilation_width;
  shape.pad_top = y.before, shape.pad_left = x.before;
  return shape;
}

struct FloatRange {
  float low, high;
};

FloatRange float_range(TfLiteFusedActivation activation) {
  switch (activation) {
    case kTfLiteActRelu:
      return {0, INFINITY};
    case kTfLiteActRelu6:
      return {0, 6};
    case kTfLiteActReluN1To1:
      return {-1, 1};
    default:
      return {-INFINITY, INFINITY};
  }
}

// The input with its codes on the activations' grid; the input itself where that is all codes.
const int8_t* on_grid(const Tensor& input, int bits, std::vector<int8_t>* buffer) {
  const int8_t* codes = input.as<int8_t>();
  if (bits == 8) return codes;
  buffer->resize(elements(input.shape));
  round_to_bits(codes, elements(input.shape), bits, buffer->data());
  return buffer->data();
}

// CONV_2D, TRANSPOSE_CONV and FULLY_CONNECTED.
class Convolution : public Operator {
 public:
  explicit Convolution(const NodeView& node)
      : builtin_(node.builtin),
        settings_(settings_of(node)),
        arithmetic_(node.options->arithmetic),
        in_double_(node.options->rounds_in_double),
        keeps_dimensions_(
            builtin_ == kFullyConnected &&
            static_cast<const TfLiteFullyConnectedParams*>(node.params)->keep_num_dims) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    const Tensor& input = activations(inputs);
    const Tensor& weights = *inputs[1];
    Geometry g;
    Window y{1, 0}, x{1, 0};
    int kernel_height = 1, kernel_width = 1;
    g.filters = weights.shape[0];
    if (builtin_ == kFullyConnected) {
      const int depth = weights.shape[1];
      const int64_t count = elements(input.shape);
      if (depth < 1 || count % depth != 0) {
        throw Failure("FULLY_CONNECTED: " + std::to_string(count) + " inputs are no multiple of " +
                      std::to_string(depth));
      }
      g = {static_cast<int>(count / depth), 1, 1, depth, 1, 1, g.filters};
      outputs[0]->shape = {g.batches, g.filters};
      if (keeps_dimensions_) {
        outputs[0]->shape = input.shape;
        outputs[0]->shape.back() = g.filters;
      }
    } else {
      need_four_dimensions(builtin_, input.shape);
      kernel_height = weights.shape[1], kernel_width = weights.shape[2];
      g.batches = input.shape[0], g.in_height = input.shape[1], g.in_width = input.shape[2];
      g.in_channels = input.shape[3];
      if (weights.shape[3] != g.in_channels) {
        throw Failure(builtin_name(builtin_) + ": the input's channels are not the filters'");
      }
      if (builtin_ == kConv2d) {
        y = window(settings_.padding, g.in_height, kernel_height, settings_.stride_height,
                   settings_.dilation_height);
        x = window(settings_.padding, g.in_width, kernel_width, settings_.stride_width,
                   settings_.dilation_width);
      } else {
        const int32_t* shape = inputs[0]->as<int32_t>();
        if (shape[0] != g.batches || shape[3] != g.filters || shape[1] < 1 || shape[2] < 1) {
          throw Failure("TRANSPOSE_CONV: the output shape does not fit the input and the filters");
        }
        // The padding of the convolution that takes the output to the input.
        y = {shape[1], window(settings_.padding, shape[1], kernel_height, settings_.stride_height,
                              1).before};
        x = {shape[2], window(settings_.padding, shape[2], kernel_width, settings_.stride_width,
                              1).before};
      }
      g.out_height = y.out, g.out_width = x.out;
      outputs[0]->shape = {g.batches, g.out_height, g.out_width, g.filters};
    }
    if (std::memcmp(&g, &geometry_, sizeof g) == 0 && !phases_.empty()) return;
    geometry_ = g;
    shape_ = shape_of(g, settings_, kernel_height, kernel_width, y, x);
    build(inputs, *outputs[0], kernel_height, kernel_width, y, x);
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey key, Counts* counts) override {
    counts->macs += macs_;
    const bool int8 = inputs[1]->is_int8();
    for (const Phase& phase : phases_) {
      if (int8) {
        run_codes(inputs, *outputs[0], phase, key, counts);
      } else {
        run_floats(inputs, *outputs[0], phase);
      }
    }
  }

 private:
  const Tensor& activations(const Tensors& inputs) const {
    return *inputs[builtin_ == kTransposeConv ? 2 : 0];
  }
  const Tensor* bias(const Tensors& inputs) const {
    const size_t index = builtin_ == kTransposeConv ? 3 : 2;
    return index < inputs.size() ? inputs[index] : nullptr;
  }

  void build(const Tensors& inputs, const Tensor& output, int kernel_height, int kernel_width,
             Window y, Window x) {
    const Geometry& g = geometry_;
    const Tensor &input = activations(inputs), &weights = *inputs[1];
    phases_.clear();
    macs_ = 0;
    direct_ = kernel_height == 1 && kernel_width == 1 && settings_.stride_height == 1 &&
              settings_.stride_width == 1 && g.in_height == g.out_height &&
              g.in_width == g.out_width;
    const bool transposed = builtin_ == kTransposeConv;
    const int phases_y = transposed ? std::min(settings_.stride_height, y.out) : 1;
    const int phases_x = transposed ? std::min(settings_.stride_width, x.out) : 1;
    for (int phase_y = 0; phase_y < phases_y; ++phase_y) {
      for (int phase_x = 0; phase_x < phases_x; ++phase_x) {
        Phase phase;
        if (transposed) {
          phase.y = transposed_taps(g.in_height, kernel_height, settings_.stride_height, y, phase_y);
          phase.x = transposed_taps(g.in_width, kernel_width, settings_.stride_width, x, phase_x);
        } else {
          phase.y = convolution_taps(g.in_height, kernel_height, settings_.stride_height,
                                     settings_.dilation_height, y);
          phase.x = convolution_taps(g.in_width, kernel_width, settings_.stride_width,
                                     settings_.dilation_width, x);
        }
        macs_ += g.batches * phase.y.inside() * phase.x.inside() * g.in_channels * g.filters;
        const int depth = static_cast<int>(phase.y.kernel.size() * phase.x.kernel.size()) *
                          g.in_channels;
        const Tensor* biases = bias(inputs);
        if (weights.is_int8()) {
          phase.codes = std::make_unique<Filters>(
              weights_under(weights.as<int8_t>(), g.filters, kernel_height, kernel_width,
                            g.in_channels, phase),
              g.filters, depth, Products(arithmetic_, input.zero()),
              biases ? biases->as<int32_t>() : nullptr);
        } else if (depth > 0) {
          const auto taken = weights_under(weights.as<float>(), g.filters, kernel_height,
                                           kernel_width, g.in_channels, phase);
          phase.floats = std::make_unique<PackedFloat>(taken.data(), g.filters, depth);
        }
        phases_.push_back(std::move(phase));
      }
    }
    if (weights.is_int8()) {
      rescaling_ = rescaling(input, weights, output, g.filters, settings_.activation,
                             builtin_ == kFullyConnected, in_double_ && builtin_ == kFullyConnected);
    }
  }

  // Calls body(first, count) for blocks of the phase's output pixels, in order.
  template <typename Body>
  void for_blocks(const Phase& phase, Body body) const {
    const int64_t pixels = int64_t{geometry_.batches} * int64_t(phase.y.outputs.size()) *
                           int64_t(phase.x.outputs.size());
    for (int64_t first = 0; first < pixels; first += kRowsAtATime) {
      body(first, static_cast<int>(std::min<int64_t>(kRowsAtATime, pixels - first)));
    }
  }

  struct Pixel {
    int batch, y, x;
    int64_t out;  // index of the output pixel
  };
  Pixel pixel(const Phase& phase, int64_t index) const {
    const int64_t width = int64_t(phase.x.outputs.size()), height = int64_t(phase.y.outputs.size());
    const int x = static_cast<int>(index % width), y = static_cast<int>(index / width % height);
    const int batch = static_cast<int>(index / (width * height));
    const int64_t row = int64_t{batch} * geometry_.out_height + phase.y.outputs[y];
    return {batch, y, x, row * geometry_.out_width + phase.x.outputs[x]};
  }

  void run_codes(const Tensors& inputs, const Tensor& output, const Phase& phase, NoiseKey key,
                 Counts* counts) {
    const Geometry& g = geometry_;
    const Tensor& input = activations(inputs);
    const int8_t* codes = on_grid(input, arithmetic_.activation_bits, &grid_);
    const int8_t zero = edgekit::on_grid(input.zero(), arithmetic_.activation_bits);
    const int64_t image = int64_t{g.in_height} * g.in_width * g.in_channels;
    const int depth = phase.codes->depth();
    const bool counting = arithmetic_.skips() || arithmetic_.noise > 0;
    if (!counting && builtin_ != kTransposeConv && phase.codes->plain() && rescaling_.real.empty()) {
      phase.codes->convolve_plainly(codes, shape_, rescaling_.with(phase.codes->biases()),
                                    output.as<int8_t>(), workspace_);
      return;
    }
    std::vector<int32_t> sums(int64_t{kRowsAtATime} * g.filters);
    std::vector<int8_t> rows(direct_ ? 0 : int64_t{kRowsAtATime} * depth);
    std::vector<int8_t> present(counting ? int64_t{kRowsAtATime} * depth : 0);
    std::vector<int64_t> in_image(counting ? kRowsAtATime : 0), first_element(in_image.size());
    for_blocks(phase, [&](int64_t first, int count) {
      const int8_t* block = direct_ ? codes + first * depth : rows.data();
      for (int row = 0; row < count && (!direct_ || counting); ++row) {
        const Pixel at = pixel(phase, first + row);
        if (!direct_) {
          gather(codes + at.batch * image, g, phase, at.y, at.x, zero,
                 rows.data() + int64_t{row} * depth);
        }
        if (counting) {
          mark(phase, at, block + int64_t{row} * depth, zero, present.data() + int64_t{row} * depth,
               &in_image[row]);
          first_element[row] = at.out * g.filters;
        }
      }
      phase.codes->sum(block, count, depth, present.data(), counting ? in_image.data() : nullptr,
                       first_element.data(), key, sums.data(), counts);
      int8_t* out = output.as<int8_t>();
      const int32_t* biases = phase.codes->biases_to_add();
      if (phases_.size() == 1) {
        rescaling_.apply(sums.data(), count, g.filters, biases, out + first * g.filters, g.filters);
        return;
      }
      for (int row = 0; row < count; ++row) {
        rescaling_.apply(sums.data() + int64_t{row} * g.filters, 1, g.filters, biases,
                         out + pixel(phase, first + row).out * g.filters, g.filters);
      }
    });
  }

  // Marks a row's codes that are neither padding nor skipped zeros.
  void mark(const Phase& phase, Pixel at, const int8_t* row, int8_t zero, int8_t* present,
            int64_t* in_image) const {
    const int channels = geometry_.in_channels;
    *in_image = 0;
    for (const int in_y : phase.y.positions[at.y]) {
      for (const int in_x : phase.x.positions[at.x]) {
        const bool inside = in_y >= 0 && in_x >= 0;
        *in_image += inside ? channels : 0;
        for (int c = 0; c < channels; ++c, ++row, ++present) {
          *present = inside && !(arithmetic_.skip_zero_activations && *row == zero);
        }
      }
    }
  }

  void run_floats(const Tensors& inputs, const Tensor& output, const Phase& phase) {
    const Geometry& g = geometry_;
    const float* values = activations(inputs).as<float>();
    const Tensor* bias_tensor = bias(inputs);
    const float* biases = bias_tensor ? bias_tensor->as<float>() : nullptr;
    const int64_t image = int64_t{g.in_height} * g.in_width * g.in_channels;
    const int depth = phase.floats ? phase.floats->depth() : 0;
    const FloatRange range = float_range(settings_.activation);
    if (builtin_ != kTransposeConv) {
      convolve(values, shape_, *phase.floats, biases, range.low, range.high, output.as<float>(),
               workspace_);
      return;
    }
    std::vector<float> sums(int64_t{kRowsAtATime} * g.filters);
    std::vector<float> rows(direct_ ? 0 : int64_t{kRowsAtATime} * depth);
    for_blocks(phase, [&](int64_t first, int count) {
      for (int row = 0; row < count && !direct_; ++row) {
        const Pixel at = pixel(phase, first + row);
        gather(values + at.batch * image, g, phase, at.y, at.x, 0.0f,
               rows.data() + int64_t{row} * depth);
      }
      std::fill(sums.begin(), sums.end(), 0.0f);
      if (phase.floats) {
        multiply(direct_ ? values + first * depth : rows.data(), count, depth, *phase.floats,
                 sums.data(), g.filters);
      }
      for (int row = 0; row < count; ++row) {
        float* out = output.as<float>() + pixel(phase, first + row).out * g.filters;
        for (int f = 0; f < g.filters; ++f) {
          const float sum = sums[int64_t{row} * g.filters + f] + (biases ? biases[f] : 0);
          out[f] = std::min(std::max(sum, range.low), range.high);
        }
      }
    });
  }

  int builtin_;
  Settings settings_;
  const Arithmetic& arithmetic_;
  bool in_double_, keeps_dimensions_;
  Geometry geometry_{};
  ConvShape shape_;
  Workspace workspace_;
  std::vector<Phase> phases_;
  Rescaling rescaling_;
  bool direct_ = false;
  int64_t macs_ = 0;
  std::vector<int8_t> grid_;
};

// DEPTHWISE_CONV_2D: each output channel sees one input channel.
class Depthwise : public Operator {
 public:
  explicit Depthwise(const NodeView& node)
      : settings_(settings_of(node)), arithmetic_(node.options->arithmetic) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    const Shape &in = inputs[0]->shape, &filter = inputs[1]->shape;
    need_four_dimensions(kDepthwiseConv2d, in);
    if (in[3] < 1 || filter[3] % in[3] != 0) {
      throw Failure("DEPTHWISE_CONV_2D: the output channels are no multiple of the input's");
    }
    const Window y = window(settings_.padding, in[1], filter[1], settings_.stride_height,
                            settings_.dilation_height);
    const Window x = window(settings_.padding, in[2], filter[2], settings_.stride_width,
                            settings_.dilation_width);
    y_ = convolution_taps(in[1], filter[1], settings_.stride_height, settings_.dilation_height, y);
    x_ = convolution_taps(in[2], filter[2], settings_.stride_width, settings_.dilation_width, x);
    channels_ = filter[3];
    repeats_ = channels_ / in[3];
    outputs[0]->shape = {in[0], y.out, x.out, channels_};
    macs_ = int64_t{in[0]} * y_.inside() * x_.inside() * channels_;
    shape_ = shape_of({in[0], in[1], in[2], in[3], y.out, x.out, channels_}, settings_, filter[1],
                      filter[2], y, x);
    if (!inputs[1]->is_int8()) return;
    rescaling_ = rescaling(*inputs[0], *inputs[1], *outputs[0], channels_, settings_.activation,
                           false, false);
    if (!weights_.empty()) return;
    const int8_t* stored = inputs[1]->as<int8_t>();
    weights_.assign(stored, stored + elements(filter));
    products_ = std::make_unique<Products>(arithmetic_, inputs[0]->zero());
    const std::array<int64_t, 256> bounds = products_->bounds();
    bounds_.assign(channels_, 0);
    for (size_t i = 0; i < weights_.size(); ++i) {
      weights_[i] = edgekit::on_grid(weights_[i], arithmetic_.weight_bits);
      bounds_[i % channels_] += bounds[uint8_t(weights_[i])];
    }
    limits_ = {arithmetic_.accumulator_bits, arithmetic_.wraps};
    const Tensor* bias = inputs.size() > 2 ? inputs[2] : nullptr;
    biases_.assign(channels_, 0);
    if (bias) biases_.assign(bias->as<int32_t>(), bias->as<int32_t>() + channels_);
    plain_ = !arithmetic_.skips() && arithmetic_.noise == 0;
    for (int c = 0; c < channels_; ++c) {
      plain_ &= std::abs(int64_t{biases_[c]}) + bounds_[c] <= limits_.most();
    }
    packed_ = std::make_unique<PackedDepthwise>(weights_.data(), filter[1] * filter[2], channels_,
                                                products_->table.get());
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey key, Counts* counts) override {
    counts->macs += macs_;
    const bool int8 = inputs[1]->is_int8();
    const int8_t* codes =
        int8 ? on_grid(*inputs[0], arithmetic_.activation_bits, &grid_) : nullptr;
    if (int8 && plain_) {
      convolve(codes, shape_, products_->zero, *packed_, rescaling_.with(biases_.data()),
               outputs[0]->as<int8_t>(), workspace_);
      return;
    }
    const Shape& in = inputs[0]->shape;
    const int64_t image = int64_t{in[1]} * in[2] * in[3];
    std::vector<int32_t> sums(int64_t(x_.outputs.size()) * channels_);
    int64_t out_row = 0;
    for (int batch = 0; batch < in[0]; ++batch) {
      for (size_t y = 0; y < y_.outputs.size(); ++y, ++out_row) {
        const int64_t first = out_row * int64_t(x_.outputs.size()) * channels_;
        for (size_t x = 0; x < x_.outputs.size(); ++x) {
          const int64_t element = first + int64_t(x) * channels_;
          if (int8) {
            sum_pixel(inputs, codes + batch * image, y, x, element, key,
                      sums.data() + int64_t(x) * channels_, counts);
          } else {
            float_pixel(inputs, inputs[0]->as<float>() + batch * image, y, x,
                        outputs[0]->as<float>() + element);
          }
        }
        if (int8) {
          rescaling_.apply(sums.data(), static_cast<int>(x_.outputs.size()), channels_, nullptr,
                           outputs[0]->as<int8_t>() + first, channels_);
        }
      }
    }
  }

 private:
  // Calls body(weights of the tap, activations of the tap or null for padding) in order.
  template <typename T, typename Body>
  void for_taps(const Tensors& inputs, const T* image, const T* weights, size_t y, size_t x,
                Body body) const {
    const int in_channels = channels_ / repeats_;
    for (const int in_y : y_.positions[y]) {
      for (const int in_x : x_.positions[x]) {
        const bool inside = in_y >= 0 && in_x >= 0;
        body(weights, inside ? image + (int64_t{in_y} * inputs[0]->shape[2] + in_x) * in_channels
                             : nullptr);
        weights += channels_;
      }
    }
  }

  void sum_pixel(const Tensors& inputs, const int8_t* image, size_t y, size_t x, int64_t element,
                 NoiseKey key, int32_t* sums, Counts* counts) {
    const int8_t zero = static_cast<int8_t>(products_->zero);
    const bool counting = arithmetic_.skips() || arithmetic_.noise > 0;
    if (counting) active_.assign(channels_, 0);
    if (counting) {
      for_taps(inputs, image, weights_.data(), y, x, [&](const int8_t* w, const int8_t* a) {
        for (int c = 0; a && c < channels_; ++c) {
          const bool skipped = (arithmetic_.skip_zero_weights && w[c] == 0) ||
                               (arithmetic_.skip_zero_activations && a[c / repeats_] == zero);
          active_[c] += !skipped;
          counts->skipped_macs += skipped;
        }
      });
    }
    bool slow = false;
    starts_.resize(channels_);
    for (int c = 0; c < channels_; ++c) {
      const int32_t noise =
          arithmetic_.noise > 0 ? noise_of(arithmetic_, key, element + c, active_[c]) : 0;
      starts_[c] = int64_t{biases_[c]} + noise;
      slow |= std::abs(starts_[c]) + bounds_[c] > limits_.most();
    }
    if (slow) {
      for (int64_t& start : starts_) start = limits_.bring_back(start);
      for_taps(inputs, image, weights_.data(), y, x, [&](const int8_t* w, const int8_t* a) {
        for (int c = 0; c < channels_; ++c) {
          const int64_t sum = starts_[c] + products_->of(a ? a[c / repeats_] : zero, w[c]);
          const int64_t kept = limits_.bring_back(sum);
          counts->saturations += kept != sum;
          starts_[c] = kept;
        }
      });
      for (int c = 0; c < channels_; ++c) sums[c] = static_cast<int32_t>(starts_[c]);
      return;
    }
    for (int c = 0; c < channels_; ++c) sums[c] = static_cast<int32_t>(starts_[c]);
    for_taps(inputs, image, weights_.data(), y, x, [&](const int8_t* w, const int8_t* a) {
      for (int c = 0; c < channels_; ++c) {
        sums[c] += products_->of(a ? a[c / repeats_] : zero, w[c]);
      }
    });
  }

  void float_pixel(const Tensors& inputs, const float* image, size_t y, size_t x, float* out) const {
    const Tensor* bias = inputs.size() > 2 ? inputs[2] : nullptr;
    const FloatRange range = float_range(settings_.activation);
    std::fill_n(out, channels_, 0.0f);
    for_taps(inputs, image, inputs[1]->as<float>(), y, x, [&](const float* w, const float* a) {
      for (int c = 0; a && c < channels_; ++c) out[c] += a[c / repeats_] * w[c];
    });
    for (int c = 0; c < channels_; ++c) {
      const float sum = out[c] + (bias ? bias->as<float>()[c] : 0);
      out[c] = std::min(std::max(sum, range.low), range.high);
    }
  }

  Settings settings_;
  const Arithmetic& arithmetic_;
  Taps y_, x_;
  int channels_ = 0, repeats_ = 1;
  int64_t macs_ = 0;
  Rescaling rescaling_;
  std::unique_ptr<Products> products_;
  std::vector<int8_t> weights_, grid_;
  std::vector<int64_t> bounds_, starts_, active_;
  std::vector<int32_t> biases_;
  Limits limits_{32, false};
  bool plain_ = false;
  std::unique_ptr<PackedDepthwise> packed_;
  ConvShape shape_;
  Workspace workspace_;
};

}  // namespace

std::unique_ptr<Operator> make_mac_operator(const NodeView& node) {
  if (node.builtin == kDepthwiseConv2d) return std::make_unique<Depthwise>(node);
  return std::make_unique<Convolution>(node);
}

Window window(TfLitePadding padding, int in, int filter, int stride, int dilation) {
  const int reach = (filter - 1) * dilation + 1;
  const int out = padding == kTfLitePaddingSame ? (in + stride - 1) / stride
                                                : (in + stride - reach) / stride;
  if (out < 1) {
    throw Failure("a window of " + std::to_string(reach) + " does not fit into " +
                  std::to_string(in));
  }
  const int missing = std::max(0, (out - 1) * stride + reach - in);
  return {out, missing / 2};
}

}  // namespace edgekit
