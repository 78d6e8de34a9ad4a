// The operators beside the convolution family: int8 in, int8 out, as the runtime's reference
// kernels compute them.
#include "operators.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

namespace edgekit {

int64_t elements(const Shape& shape) {
  int64_t count = 1;
  for (const int size : shape) count *= size;
  return count;
}

void need_four_dimensions(int builtin, const Shape& shape) {
  if (shape.size() == 4) return;
  throw Failure(builtin_name(builtin) + ": the input must have four dimensions, not " +
                std::to_string(shape.size()));
}

int64_t Tensor::bytes() const {
  switch (described->type) {
    case kTfLiteInt8:
    case kTfLiteUInt8:
      return elements(shape);
    case kTfLiteInt16:
    case kTfLiteFloat16:
      return 2 * elements(shape);
    case kTfLiteInt64:
      return 8 * elements(shape);
    default:
      return 4 * elements(shape);
  }
}

namespace {

int8_t clamped(int32_t code) { return static_cast<int8_t>(std::clamp(code, -128, 127)); }

using Codes = std::array<int8_t, 256>;  // an output code for every input code

template <typename Function>
Codes tabulate(Function code) {
  Codes codes;
  for (int i = -128; i < 128; ++i) codes[uint8_t(i)] = code(i);
  return codes;
}

Multiplier ratio(const Tensor& in, const Tensor& out) {
  return quantize_multiplier(double(in.scale() / out.scale()));
}

Codes relu(const Tensor& in, const Tensor& out, TfLiteFusedActivation activation) {
  const Multiplier by = ratio(in, out);
  const Range range = activation_range(activation, out.scale(), out.zero());
  return tabulate([&](int code) {
    const int32_t scaled = out.zero() + scale(code - in.zero(), by);
    return static_cast<int8_t>(std::clamp(scaled, range.low, range.high));
  });
}

Codes leaky_relu(const Tensor& in, const Tensor& out, float alpha) {
  const Multiplier by = ratio(in, out);
  Multiplier by_alpha = quantize_multiplier(double(in.scale() * alpha / out.scale()));
  return tabulate([&](int code) {
    const int32_t value = code - in.zero();
    return clamped(out.zero() + scale(value, value >= 0 ? by : by_alpha));
  });
}

Codes logistic(const Tensor& in, const Tensor& out) {
  const float inverse_scale = 1 / out.scale();
  return tabulate([&](int code) {
    const float value = in.scale() * float(code - in.zero());
    const float probability = 1.0f / (1.0f + std::exp(-value));
    const float rounded = std::round(probability * inverse_scale);
    return clamped(static_cast<int32_t>(rounded + float(out.zero())));
  });
}

int16_t high_half(Multiplier by) {
  return static_cast<int16_t>(
      by.value >= INT32_MAX - (1 << 15) ? INT16_MAX : (by.value + (1 << 15)) >> 16);
}

int16_t high_product16(int16_t a, int16_t b) {  // round(a * b / 2^15), saturating
  if (a == b && a == INT16_MIN) return INT16_MAX;
  const int32_t product = int32_t{a} * b;
  return static_cast<int16_t>((product + (product >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15));
}

int16_t saturating_shift_left(int16_t value, int amount) {
  const int64_t shifted = int64_t{value} * (int64_t{1} << amount);
  return static_cast<int16_t>(std::clamp<int64_t>(shifted, INT16_MIN, INT16_MAX));
}

// x * relu6(x + 3) / 6 in 16-bit fixed point.
Codes hard_swish(const Tensor& in, const Tensor& out) {
  const float fine_scale = (1.0f / 128.0f) * in.scale();
  const Multiplier output_by = quantize_multiplier(double(fine_scale / out.scale()));
  const Multiplier relu_by = quantize_multiplier(double(fine_scale / (3.0f / 32768.0f)));
  return tabulate([&](int code) {
    const int16_t fine = static_cast<int16_t>((code - in.zero()) * 128);
    const int16_t unshifted = high_product16(fine, high_half(output_by));
    int16_t gate = fine;
    if (relu_by.shift > 0) gate = saturating_shift_left(gate, relu_by.shift - 1);
    gate = high_product16(gate, high_half(relu_by));
    if (relu_by.shift > 0) gate = saturating_shift_left(gate, 1);
    if (relu_by.shift < 0) {
      gate = static_cast<int16_t>(rounding_shift_right(gate, -relu_by.shift));
    }
    gate = static_cast<int16_t>((gate + (1 << 15)) >> 1);
    const bool overflow = gate == unshifted && gate == INT16_MIN;
    const int16_t product = overflow ? INT16_MAX
                                     : static_cast<int16_t>(int32_t{gate} * unshifted / (1 << 15));
    return clamped(rounding_shift_right(product, -output_by.shift) + out.zero());
  });
}

Codes requantized(const Tensor& in, const Tensor& out) {
  const Multiplier by = quantize_multiplier(double(in.scale()) / double(out.scale()));
  return tabulate([&](int code) { return clamped(scale(code - in.zero(), by) + out.zero()); });
}

// One output code per input code, looked up.
class Unary : public Operator {
 public:
  explicit Unary(std::function<Codes(const Tensor&, const Tensor&)> make) : make_(std::move(make)) {}
  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    outputs[0]->shape = inputs[0]->shape;
    codes_ = make_(*inputs[0], *outputs[0]);
  }
  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const int64_t count = elements(inputs[0]->shape);
    const int8_t* in = inputs[0]->as<int8_t>();
    int8_t* out = outputs[0]->as<int8_t>();
    for (int64_t i = 0; i < count; ++i) out[i] = codes_[uint8_t(in[i])];
  }

 private:
  std::function<Codes(const Tensor&, const Tensor&)> make_;
  Codes codes_{};
};

class Quantize : public Operator {
 public:
  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    outputs[0]->shape = inputs[0]->shape;
  }
  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const int64_t count = elements(inputs[0]->shape);
    const float* in = inputs[0]->as<float>();
    int8_t* out = outputs[0]->as<int8_t>();
    for (int64_t i = 0; i < count; ++i) {
      const float steps = std::round(in[i] / outputs[0]->scale()) + float(outputs[0]->zero());
      // A NaN becomes the zero point: the runtime's conversion of it to an integer is undefined.
      out[i] = std::isnan(steps) ? int8_t(outputs[0]->zero())
                                 : static_cast<int8_t>(std::clamp(steps, -128.0f, 127.0f));
    }
  }
};

class Dequantize : public Operator {
 public:
  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    outputs[0]->shape = inputs[0]->shape;
  }
  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const int64_t count = elements(inputs[0]->shape);
    const int8_t* in = inputs[0]->as<int8_t>();
    float* out = outputs[0]->as<float>();
    const double scale = inputs[0]->scale();
    for (int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<float>(scale * (in[i] - inputs[0]->zero()));
    }
  }
};

class Pool : public Operator {
 public:
  Pool(const TfLitePoolParams& params, bool average) : params_(params), average_(average) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    const Shape& in = inputs[0]->shape;
    need_four_dimensions(average_ ? kAveragePool2d : kMaxPool2d, in);
    y_ = window(params_.padding, in[1], params_.filter_height, params_.stride_height, 1);
    x_ = window(params_.padding, in[2], params_.filter_width, params_.stride_width, 1);
    outputs[0]->shape = {in[0], y_.out, x_.out, in[3]};
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const Shape& in = inputs[0]->shape;
    const int channels = in[3];
    const Range range =
        activation_range(params_.activation, outputs[0]->scale(), outputs[0]->zero());
    int8_t* out = outputs[0]->as<int8_t>();
    std::vector<int32_t> held(channels);
    for (int batch = 0; batch < in[0]; ++batch) {
      for (int y = 0; y < y_.out; ++y) {
        for (int x = 0; x < x_.out; ++x) {
          const int top = y * params_.stride_height - y_.before;
          const int left = x * params_.stride_width - x_.before;
          const int y0 = std::max(0, top), y1 = std::min(top + params_.filter_height, in[1]);
          const int x0 = std::max(0, left), x1 = std::min(left + params_.filter_width, in[2]);
          std::fill(held.begin(), held.end(), average_ ? 0 : -128);
          for (int in_y = y0; in_y < y1; ++in_y) {
            for (int in_x = x0; in_x < x1; ++in_x) {
              const int8_t* pixel =
                  inputs[0]->as<int8_t>() +
                  ((int64_t{batch} * in[1] + in_y) * in[2] + in_x) * channels;
              for (int c = 0; c < channels; ++c) {
                held[c] = average_ ? held[c] + pixel[c] : std::max<int32_t>(held[c], pixel[c]);
              }
            }
          }
          const int count = std::max(1, (y1 - y0) * (x1 - x0));
          for (int c = 0; c < channels; ++c) {
            int32_t code = held[c];
            if (average_) code = (code > 0 ? code + count / 2 : code - count / 2) / count;
            *out++ = static_cast<int8_t>(std::clamp(code, range.low, range.high));
          }
        }
      }
    }
  }

 private:
  TfLitePoolParams params_;
  bool average_;
  Window y_{}, x_{};
};

// Bit k set: dimension k is averaged away.
unsigned resolved_axes(const Tensor& axes, int rank) {
  unsigned resolved = 0;
  for (int64_t i = 0; i < elements(axes.shape); ++i) {
    const int axis = axes.as<int32_t>()[i];
    const int counted = axis < 0 ? axis + rank : axis;
    if (counted < 0 || counted >= rank) {
      throw Failure("MEAN: axis " + std::to_string(axis) + " of " + std::to_string(rank) +
                    " dimensions does not exist");
    }
    resolved |= 1u << counted;
  }
  return resolved;
}

class Mean : public Operator {
 public:
  explicit Mean(bool keeps) : keeps_(keeps) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    const Shape& in = inputs[0]->shape;
    axes_ = resolved_axes(*inputs[1], static_cast<int>(in.size()));
    Shape& out = outputs[0]->shape;
    out.clear();
    averaged_ = 1;
    for (size_t i = 0; i < in.size(); ++i) {
      const bool away = axes_ >> i & 1;
      if (away) averaged_ *= in[i];
      if (!away || keeps_) out.push_back(away ? 1 : in[i]);
    }
    const Multiplier by =
        quantize_multiplier(double(inputs[0]->scale()) / double(outputs[0]->scale()));
    // The division by the number of elements goes into the multiplier.
    const int shift = std::min({63 - leading_zeros(averaged_), 32, 31 + by.shift});
    by_ = {static_cast<int32_t>((int64_t{by.value} << shift) / std::max<int64_t>(1, averaged_)),
           by.shift - shift};
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const Shape& in = inputs[0]->shape;
    std::vector<int32_t> sums(elements(outputs[0]->shape), 0);
    std::vector<int> at(in.size(), 0);
    const int8_t* codes = inputs[0]->as<int8_t>();
    for (int64_t i = 0; i < elements(in); ++i) {
      int64_t target = 0;
      for (size_t k = 0; k < in.size(); ++k) {
        if (!(axes_ >> k & 1)) target = target * in[k] + at[k];
      }
      sums[target] += codes[i];
      for (size_t k = in.size(); k-- > 0;) {
        if (++at[k] < in[k]) break;
        at[k] = 0;
      }
    }
    int8_t* out = outputs[0]->as<int8_t>();
    for (size_t i = 0; i < sums.size(); ++i) {
      const int64_t sum = sums[i] - inputs[0]->zero() * averaged_;
      out[i] = clamped(scale(static_cast<int32_t>(sum), by_) + outputs[0]->zero());
    }
  }

 private:
  static int leading_zeros(int64_t value) {
    return value > 0 ? __builtin_clzll(static_cast<uint64_t>(value)) : 63;
  }
  bool keeps_;
  unsigned axes_ = 0;
  int64_t averaged_ = 1;
  Multiplier by_{};
};

// Indices into a tensor that is stretched to a larger shape of at most four dimensions.
struct Stretched {
  int64_t strides[4];

  Stretched(const Shape& shape, const Shape& to) {
    if (to.size() > 4) throw Failure("an input has more than four dimensions");
    int64_t stride = 1;
    for (int k = 3; k >= 0; --k) {
      const int back = 4 - k;
      const int size = back <= int(shape.size()) ? shape[shape.size() - back] : 1;
      const int wanted = back <= int(to.size()) ? to[to.size() - back] : 1;
      if (size != wanted && size != 1) throw Failure("the inputs' shapes do not fit together");
      strides[k] = size == 1 ? 0 : stride;
      stride *= size;
    }
  }
};

Shape broadcast(const Shape& a, const Shape& b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t back = 1; back <= out.size(); ++back) {
    const int left = back <= a.size() ? a[a.size() - back] : 1;
    const int right = back <= b.size() ? b[b.size() - back] : 1;
    out[out.size() - back] = left == 1 ? right : left;
  }
  return out;
}

// Calls body(index in a, index in b) for every output element in order.
template <typename Body>
void for_broadcast(const Shape& a, const Shape& b, const Shape& out, Body body) {
  const Stretched left(a, out), right(b, out);
  int sizes[4] = {1, 1, 1, 1};
  for (size_t i = 0; i < out.size(); ++i) sizes[4 - out.size() + i] = out[i];
  for (int n = 0; n < sizes[0]; ++n) {
    for (int y = 0; y < sizes[1]; ++y) {
      for (int x = 0; x < sizes[2]; ++x) {
        const int64_t l = n * left.strides[0] + y * left.strides[1] + x * left.strides[2];
        const int64_t r = n * right.strides[0] + y * right.strides[1] + x * right.strides[2];
        for (int c = 0; c < sizes[3]; ++c) body(l + c * left.strides[3], r + c * right.strides[3]);
      }
    }
  }
}

// ADD, MUL and PRELU: two inputs, stretched to one shape.
class Binary : public Operator {
 public:
  Binary(int builtin, TfLiteFusedActivation activation)
      : builtin_(builtin), activation_(activation) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    outputs[0]->shape = broadcast(inputs[0]->shape, inputs[1]->shape);
    const Stretched left(inputs[0]->shape, outputs[0]->shape);
    const Stretched right(inputs[1]->shape, outputs[0]->shape);
    const float a = inputs[0]->scale(), b = inputs[1]->scale(), out = outputs[0]->scale();
    if (builtin_ == kAdd) {
      const double twice_larger = 2 * double(std::max(a, b));
      first_ = quantize_multiplier(double(a) / twice_larger);
      second_ = quantize_multiplier(double(b) / twice_larger);
      both_ = quantize_multiplier(twice_larger / (double(1 << kAddBits) * double(out)));
    } else if (builtin_ == kMul) {
      both_ = quantize_multiplier(double(a * b / out));
    } else {
      first_ = quantize_multiplier(double(a / out));
      both_ = quantize_multiplier(double(a * b / out));
    }
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const int8_t *a = inputs[0]->as<int8_t>(), *b = inputs[1]->as<int8_t>();
    int8_t* out = outputs[0]->as<int8_t>();
    const int32_t zero_a = inputs[0]->zero(), zero_b = inputs[1]->zero();
    const int32_t zero = outputs[0]->zero();
    const Range range = activation_range(activation_, outputs[0]->scale(), zero);
    for_broadcast(inputs[0]->shape, inputs[1]->shape, outputs[0]->shape,
                  [&](int64_t i, int64_t k) {
                    const int32_t code = combined(a[i] - zero_a, b[k] - zero_b) + zero;
                    *out++ = static_cast<int8_t>(std::clamp(code, range.low, range.high));
                  });
  }

 private:
  static constexpr int kAddBits = 20;

  int32_t combined(int32_t a, int32_t b) const {
    if (builtin_ == kAdd) {
      return scale(scale(a * (1 << kAddBits), first_) + scale(b * (1 << kAddBits), second_), both_);
    }
    if (builtin_ == kPrelu && a >= 0) return scale(a, first_);
    return scale(a * b, both_);
  }

  int builtin_;
  TfLiteFusedActivation activation_;
  Multiplier first_{}, second_{}, both_{};
};

class Concatenation : public Operator {
 public:
  explicit Concatenation(int axis) : axis_(axis) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    Shape out = inputs[0]->shape;
    const int rank = static_cast<int>(out.size());
    at_ = axis_ < 0 ? axis_ + rank : axis_;
    if (at_ < 0 || at_ >= rank) throw Failure("CONCATENATION: the axis does not exist");
    out[at_] = 0;
    for (const Tensor* input : inputs) {
      Shape rest = input->shape;
      if (rest.size() != out.size()) throw Failure("CONCATENATION: the shapes do not fit together");
      const int size = rest[at_];
      rest[at_] = out[at_];
      if (rest != out) throw Failure("CONCATENATION: the shapes do not fit together");
      out[at_] += size;
    }
    outputs[0]->shape = out;
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const Shape& out = outputs[0]->shape;
    const int64_t outer = elements(Shape(out.begin(), out.begin() + at_));
    int8_t* to = outputs[0]->as<int8_t>();
    for (int64_t i = 0; i < outer; ++i) {
      for (const Tensor* input : inputs) {
        const Shape& shape = input->shape;
        const int64_t count = elements(Shape(shape.begin() + at_, shape.end()));
        std::copy_n(input->as<int8_t>() + i * count, count, to);
        to += count;
      }
    }
  }

 private:
  int axis_, at_ = 0;
};

class Pad : public Operator {
 public:
  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    const int32_t* paddings = inputs[1]->as<int32_t>();
    outputs[0]->shape = inputs[0]->shape;
    if (int(outputs[0]->shape.size()) != inputs[1]->shape[0]) {
      throw Failure("PAD: the input must have as many dimensions as there are paddings");
    }
    for (size_t i = 0; i < outputs[0]->shape.size(); ++i) {
      if (paddings[2 * i] < 0 || paddings[2 * i + 1] < 0) throw Failure("PAD: a padding below 0");
      outputs[0]->shape[i] += paddings[2 * i] + paddings[2 * i + 1];
    }
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    int8_t* out = outputs[0]->as<int8_t>();
    std::fill_n(out, elements(outputs[0]->shape), static_cast<int8_t>(outputs[0]->zero()));
    int in[4] = {1, 1, 1, 1}, before[4] = {0, 0, 0, 0}, to[4] = {1, 1, 1, 1};
    const size_t rank = inputs[0]->shape.size();
    for (size_t i = 0; i < rank; ++i) {
      in[4 - rank + i] = inputs[0]->shape[i];
      to[4 - rank + i] = outputs[0]->shape[i];
      before[4 - rank + i] = inputs[1]->as<int32_t>()[2 * i];
    }
    const int8_t* from = inputs[0]->as<int8_t>();
    for (int n = 0; n < in[0]; ++n) {
      for (int y = 0; y < in[1]; ++y) {
        for (int x = 0; x < in[2]; ++x, from += in[3]) {
          const int64_t row = (int64_t{n + before[0]} * to[1] + y + before[1]) * to[2] + x + before[2];
          std::copy_n(from, in[3], out + row * to[3] + before[3]);
        }
      }
    }
  }
};

class Reshape : public Operator {
 public:
  explicit Reshape(const TfLiteReshapeParams* params) {
    if (!params) return;
    // An old converter's way of saying "a scalar".
    const bool scalar = params->num_dimensions == 1 && params->shape[0] == 0;
    if (!scalar) wanted_.assign(params->shape, params->shape + std::clamp(params->num_dimensions, 0, 8));
  }

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    Shape shape = wanted_;
    if (inputs.size() > 1 && inputs[1] && inputs[1]->shape.size() == 1) {
      const int32_t* given = inputs[1]->as<int32_t>();
      shape.assign(given, given + inputs[1]->shape[0]);
    }
    const int64_t count = elements(inputs[0]->shape);
    int64_t known = 1;
    int unknown = -1;
    for (size_t i = 0; i < shape.size(); ++i) {
      if (shape[i] == -1 && unknown < 0) {
        unknown = static_cast<int>(i);
      } else {
        known *= shape[i];
      }
    }
    if (unknown >= 0 && known > 0) shape[unknown] = static_cast<int>(count / known);
    if (elements(shape) != count) {
      throw Failure("RESHAPE: " + std::to_string(count) + " elements do not fill the new shape");
    }
    outputs[0]->shape = shape;
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    std::copy_n(inputs[0]->as<int8_t>(), elements(inputs[0]->shape), outputs[0]->as<int8_t>());
  }

 private:
  Shape wanted_;
};

class ResizeNearest : public Operator {
 public:
  explicit ResizeNearest(const TfLiteResizeParams& params) : params_(params) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    const Shape& in = inputs[0]->shape;
    const int32_t* size = inputs[1]->as<int32_t>();
    need_four_dimensions(kResizeNearestNeighbor, in);
    if (size[0] < 1 || size[1] < 1) throw Failure("RESIZE_NEAREST_NEIGHBOR: a size below 1");
    outputs[0]->shape = {in[0], size[0], size[1], in[3]};
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const Shape &in = inputs[0]->shape, &to = outputs[0]->shape;
    int8_t* out = outputs[0]->as<int8_t>();
    for (int n = 0; n < to[0]; ++n) {
      for (int y = 0; y < to[1]; ++y) {
        const int from_y = nearest(y, in[1], to[1]);
        for (int x = 0; x < to[2]; ++x, out += to[3]) {
          const int64_t pixel = (int64_t{n} * in[1] + from_y) * in[2] + nearest(x, in[2], to[2]);
          std::copy_n(inputs[0]->as<int8_t>() + pixel * in[3], in[3], out);
        }
      }
    }
  }

 private:
  int nearest(int at, int in, int out) const {
    const bool corners = params_.align_corners && out > 1;
    const float scale = corners ? float(in - 1) / float(out - 1) : float(in) / float(out);
    const float moved = (float(at) + (params_.half_pixel_centers ? 0.5f : 0.0f)) * scale;
    const int from = static_cast<int>(params_.align_corners ? std::round(moved) : std::floor(moved));
    return std::clamp(from, 0, in - 1);
  }
  TfLiteResizeParams params_;
};

class ResizeBilinear : public Operator {
 public:
  explicit ResizeBilinear(const TfLiteResizeParams& params) : params_(params) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    const Shape& in = inputs[0]->shape;
    const int32_t* size = inputs[1]->as<int32_t>();
    need_four_dimensions(kResizeBilinear, in);
    if (size[0] < 1 || size[1] < 1) throw Failure("RESIZE_BILINEAR: a size below 1");
    outputs[0]->shape = {in[0], size[0], size[1], in[3]};
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const Shape &in = inputs[0]->shape, &to = outputs[0]->shape;
    const int8_t* codes = inputs[0]->as<int8_t>();
    int8_t* out = outputs[0]->as<int8_t>();
    for (int n = 0; n < to[0]; ++n) {
      for (int y = 0; y < to[1]; ++y) {
        const Between v = between(y, in[1], to[1]);
        for (int x = 0; x < to[2]; ++x) {
          const Between h = between(x, in[2], to[2]);
          for (int c = 0; c < in[3]; ++c) {
            const auto at = [&](int row, int column) {
              return int64_t{codes[((int64_t{n} * in[1] + row) * in[2] + column) * in[3] + c]};
            };
            const int64_t sum = at(v.low, h.low) * (kOne - v.part) * (kOne - h.part) +
                                at(v.high, h.low) * v.part * (kOne - h.part) +
                                at(v.low, h.high) * (kOne - v.part) * h.part +
                                at(v.high, h.high) * v.part * h.part;
            const int64_t half = int64_t{kOne} * kOne / 2;
            *out++ = static_cast<int8_t>((sum + (sum > 0 ? half : -half)) / (int64_t{kOne} * kOne));
          }
        }
      }
    }
  }

 private:
  static constexpr int kOne = 1 << 10;  // positions have ten fractional bits

  struct Between {
    int low, high;
    int64_t part;  // of the way from low, in 1/1024; negative before the first pixel's centre
  };

  Between between(int at, int in, int out) const {
    int step = (kOne * in + out / 2) / out;
    if (params_.align_corners && out > 1) step = (kOne * (in - 1) + (out - 1) / 2) / (out - 1);
    int position = at * step;
    if (params_.half_pixel_centers) position += step / 2 - kOne / 2;
    const int low = std::max(position / kOne, 0);
    const int high = std::min((position + kOne - 1) / kOne, in - 1);
    return {low, high, position - int64_t{kOne} * low};
  }
  TfLiteResizeParams params_;
};

// exp(x) for x = raw / 2^26 <= 0, as raw / 2^31: a Taylor polynomial on [-1/4, 0) times the
// exponentials of the powers of two that are left (gemmlowp, fixedpoint.h).
int32_t exp_of_negative(int32_t raw) {
  constexpr int kFraction = 26;
  if (raw == 0) return INT32_MAX;
  const int32_t quarter = 1 << (kFraction - 2);
  const int32_t below = (raw & (quarter - 1)) - quarter;  // in [-1/4, 0)
  const int32_t x = wrapping_shift_left(below, 5) + (1 << 28);  // 31 fractional bits, around -1/8
  const int32_t x2 = high_product(x, x), x3 = high_product(x2, x), x4 = high_product(x2, x2);
  const int32_t third = 715827883, at_eighth = 1895147668;  // 1/3 and exp(-1/8)
  const int32_t tail =
      rounding_shift_right(high_product(rounding_shift_right(x4, 2) + x3, third) + x2, 1);
  int32_t result = at_eighth + high_product(at_eighth, x + tail);
  const int32_t left = below - raw;
  // exp(-2^k) for k from -2 to 4.
  constexpr int32_t kPowers[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
  for (int k = 0; k < 7; ++k) {
    if (kFraction - 2 + k < 31 && (left & (1 << (kFraction - 2 + k)))) {
      result = high_product(result, kPowers[k]);
    }
  }
  return result;
}

// 1 / (1 + x) for x = raw / 2^31 in [0, 1): three steps of Newton and Raphson.
int32_t reciprocal_of_one_plus(int32_t raw) {
  const int64_t sum = int64_t{raw} + INT32_MAX;
  const int32_t half = static_cast<int32_t>((sum + (sum >= 0 ? 1 : -1)) / 2);
  int32_t x = 1515870810 + high_product(half, -1010580540);  // 48/17 - 32/17 half, 29 bits
  for (int i = 0; i < 3; ++i) {
    const int32_t error = (1 << 29) - high_product(half, x);
    const int32_t step = high_product(x, error);  // 27 fractional bits, to be 29, saturating
    const int64_t wide = int64_t{step} * 4;
    x += static_cast<int32_t>(std::clamp<int64_t>(wide, INT32_MIN, INT32_MAX));
  }
  const int64_t result = int64_t{x} * 2;  // from 30 fractional bits to 31, saturating
  return static_cast<int32_t>(std::clamp<int64_t>(result, INT32_MIN, INT32_MAX));
}

class Softmax : public Operator {
 public:
  explicit Softmax(float beta) : beta_(beta) {}

  void prepare(const Tensors& inputs, const Tensors& outputs) override {
    outputs[0]->shape = inputs[0]->shape;
    const double real = std::min(double(beta_) * double(inputs[0]->scale()) * double(1 << 26),
                                 double((int64_t{1} << 31) - 1));
    const Multiplier by = quantize_multiplier(real);
    const int least = by.shift > 30 || by.shift < 0
                          ? 0
                          : -static_cast<int>(std::floor(31.0 * double(1 << 26) /
                                                         double(int64_t{1} << by.shift)));
    for (int difference = -255; difference <= 0; ++difference) {
      const bool counts = difference >= least;
      const int32_t raw = high_product(wrapping_shift_left(difference, std::max(0, by.shift)), by.value);
      exponentials_[-difference] = counts ? exp_of_negative(raw) : -1;
    }
  }

  void run(const Tensors& inputs, const Tensors& outputs, NoiseKey, Counts*) override {
    const int depth = inputs[0]->shape.empty() ? 1 : inputs[0]->shape.back();
    const int64_t rows = depth > 0 ? elements(inputs[0]->shape) / depth : 0;
    for (int64_t row = 0; row < rows; ++row) {
      const int8_t* in = inputs[0]->as<int8_t>() + row * depth;
      int8_t* out = outputs[0]->as<int8_t>() + row * depth;
      const int largest = *std::max_element(in, in + depth);
      int32_t sum = 0;  // 19 fractional bits
      for (int i = 0; i < depth; ++i) {
        const int32_t exponential = exponentials_[largest - in[i]];
        if (exponential >= 0) sum += rounding_shift_right(exponential, 12);
      }
      const int headroom = __builtin_clz(static_cast<uint32_t>(sum));
      const int32_t mantissa =
          static_cast<int32_t>((static_cast<uint32_t>(sum) << headroom) - (1u << 31));
      const int32_t reciprocal = reciprocal_of_one_plus(mantissa);
      const int exponent = 12 - headroom + 31 - 8;
      for (int i = 0; i < depth; ++i) {
        const int32_t exponential = exponentials_[largest - in[i]];
        out[i] = exponential < 0
                     ? int8_t{-128}
                     : clamped(rounding_shift_right(high_product(reciprocal, exponential), exponent) -
                               128);
      }
    }
  }

 private:
  float beta_;
  std::array<int32_t, 256> exponentials_{};  // by distance from the largest; -1: counts as 0
};

}  // namespace

std::unique_ptr<Operator> make_operator(const NodeView& node) {
  const auto resize = [&] { return *static_cast<const TfLiteResizeParams*>(node.params); };
  switch (node.builtin) {
    case kAveragePool2d:
    case kMaxPool2d:
      return std::make_unique<Pool>(*static_cast<const TfLitePoolParams*>(node.params),
                                    node.builtin == kAveragePool2d);
    case kMean:
      return std::make_unique<Mean>(static_cast<const TfLiteReducerParams*>(node.params)->keep_dims);
    case kAdd:
      return std::make_unique<Binary>(kAdd,
                                      static_cast<const TfLiteAddParams*>(node.params)->activation);
    case kMul:
      return std::make_unique<Binary>(kMul,
                                      static_cast<const TfLiteMulParams*>(node.params)->activation);
    case kPrelu:
      return std::make_unique<Binary>(kPrelu, kTfLiteActNone);
    case kConcatenation:
      return std::make_unique<Concatenation>(
          static_cast<const TfLiteConcatenationParams*>(node.params)->axis);
    case kPad:
      return std::make_unique<Pad>();
    case kReshape:
      return std::make_unique<Reshape>(static_cast<const TfLiteReshapeParams*>(node.params));
    case kRelu:
    case kReluN1To1:
    case kRelu6: {
      const auto activation = node.builtin == kRelu         ? kTfLiteActRelu
                              : node.builtin == kReluN1To1 ? kTfLiteActReluN1To1
                                                           : kTfLiteActRelu6;
      return std::make_unique<Unary>([activation](const Tensor& in, const Tensor& out) {
        return relu(in, out, activation);
      });
    }
    case kLeakyRelu: {
      const float alpha = static_cast<const TfLiteLeakyReluParams*>(node.params)->alpha;
      return std::make_unique<Unary>([alpha](const Tensor& in, const Tensor& out) {
        return leaky_relu(in, out, alpha);
      });
    }
    case kLogistic:
      return std::make_unique<Unary>(logistic);
    case kHardSwish:
      return std::make_unique<Unary>(hard_swish);
    case kQuantize:
      if (node.inputs[0]->type == kTfLiteInt8) return std::make_unique<Unary>(requantized);
      return std::make_unique<Quantize>();
    case kDequantize:
      return std::make_unique<Dequantize>();
    case kSoftmax:
      return std::make_unique<Softmax>(static_cast<const TfLiteSoftmaxParams*>(node.params)->beta);
    case kResizeBilinear:
      return std::make_unique<ResizeBilinear>(resize());
    case kResizeNearestNeighbor:
      return std::make_unique<ResizeNearest>(resize());
    default:
      return make_mac_operator(node);
  }
}

}  // namespace edgekit
