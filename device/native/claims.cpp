// Which nodes the delegate takes: constraints as data, each with the text that documents it.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "builtin_names.h"
#include "operators.h"

namespace edgekit {
namespace {

std::string number(int value) { return std::to_string(value); }

const TfLiteTensor* input(const NodeView& node, size_t index) {
  return index < node.inputs.size() ? node.inputs[index] : nullptr;
}

std::string type_name(const TfLiteTensor* tensor) {
  if (!tensor) return "none";
  switch (tensor->type) {
    case kTfLiteFloat32: return "float32";
    case kTfLiteInt32: return "int32";
    case kTfLiteUInt8: return "uint8";
    case kTfLiteInt64: return "int64";
    case kTfLiteInt16: return "int16";
    case kTfLiteInt8: return "int8";
    case kTfLiteFloat16: return "float16";
    default: return "type " + number(tensor->type);
  }
}

std::string shape_text(const TfLiteTensor* tensor) {
  std::string text = "[";
  for (int i = 0; tensor->dims && i < tensor->dims->size; ++i) {
    text += (i ? ", " : "") + number(tensor->dims->data[i]);
  }
  return text + "]";
}

int rank(const TfLiteTensor* tensor) { return tensor->dims ? tensor->dims->size : 0; }

int dim(const TfLiteTensor* tensor, int index) {
  return index < rank(tensor) ? tensor->dims->data[index] : 0;
}

// Where the weights and the activations stand among the inputs of the convolution family.
bool is_transpose(const NodeView& node) { return node.builtin == kTransposeConv; }
bool has_weights(const NodeView& node) {
  return node.builtin == kConv2d || node.builtin == kDepthwiseConv2d ||
         node.builtin == kFullyConnected || is_transpose(node);
}
const TfLiteTensor* weights(const NodeView& node) { return input(node, 1); }
const TfLiteTensor* activations(const NodeView& node) {
  return input(node, is_transpose(node) ? 2 : 0);
}
const TfLiteTensor* bias(const NodeView& node) { return input(node, is_transpose(node) ? 3 : 2); }

// Which dimension of the weights counts the output channels, and their scales.
int filter_dimension(const NodeView& node) { return node.builtin == kDepthwiseConv2d ? 3 : 0; }

int64_t elements_of(const TfLiteTensor* tensor) {
  int64_t count = 1;
  for (int i = 0; i < rank(tensor); ++i) count *= tensor->dims->data[i];
  return count;
}

bool same_quantization(const TfLiteTensor* a, const TfLiteTensor* b) {
  return a->params.scale == b->params.scale && a->params.zero_point == b->params.zero_point;
}

std::string quantization_text(const TfLiteTensor* tensor) {
  return std::to_string(tensor->params.scale) + " and " + number(tensor->params.zero_point);
}

TfLiteFusedActivation fused_activation(const NodeView& node) {
  switch (node.builtin) {
    case kConv2d:
      return static_cast<const TfLiteConvParams*>(node.params)->activation;
    case kDepthwiseConv2d:
      return static_cast<const TfLiteDepthwiseConvParams*>(node.params)->activation;
    case kTransposeConv:
      return static_cast<const TfLiteTransposeConvParams*>(node.params)->activation;
    case kFullyConnected:
      return static_cast<const TfLiteFullyConnectedParams*>(node.params)->activation;
    case kAveragePool2d:
    case kMaxPool2d:
      return static_cast<const TfLitePoolParams*>(node.params)->activation;
    case kAdd:
      return static_cast<const TfLiteAddParams*>(node.params)->activation;
    case kMul:
      return static_cast<const TfLiteMulParams*>(node.params)->activation;
    default:
      return kTfLiteActNone;
  }
}

const Rule kMacTypes{
    "input, weights and output are int8, or all of them float32", [](const NodeView& node) {
      const auto *a = activations(node), *w = weights(node), *out = node.outputs[0];
      const bool known = a && (a->type == kTfLiteInt8 || a->type == kTfLiteFloat32);
      if (known && w && w->type == a->type && out->type == a->type) return std::string();
      return type_name(a) + ", " + type_name(w) + " and " + type_name(out);
    }};

const Rule kFloatExact{
    "float32 runs in exact arithmetic only: bits, accumulators, approximate multipliers and noise "
    "are defined on int8",
    [](const NodeView& node) {
      const bool fine = weights(node)->type == kTfLiteInt8 || node.options->arithmetic.exact();
      return fine ? std::string() : std::string("float32 with approximate arithmetic");
    }};

const Rule kConstantWeights{
    "weights and bias are constant and stored densely", [](const NodeView& node) -> std::string {
      const auto *w = weights(node), *b = bias(node);
      if (!is_constant(w)) return "weights computed at run time";
      if (w->sparsity) return "weights stored sparsely";
      if (b && !is_constant(b)) return "a bias computed at run time";
      return "";
    }};

const Rule kBiasType{
    "the bias, if any, is int32 beside int8 weights and float32 beside float32 weights",
    [](const NodeView& node) {
      const auto *w = weights(node), *b = bias(node);
      const TfLiteType wanted = w->type == kTfLiteInt8 ? kTfLiteInt32 : kTfLiteFloat32;
      return !b || b->type == wanted ? std::string() : "a bias of " + type_name(b);
    }};

const Rule kBiasLength{
    "the bias, if any, has one value per output channel", [](const NodeView& node) {
      const auto* b = bias(node);
      const int channels = dim(weights(node), filter_dimension(node));
      if (!b || (rank(b) >= 1 && elements_of(b) == channels)) return std::string();
      return number(static_cast<int>(elements_of(b))) + " values for " + number(channels);
    }};

const Rule kWeightQuantization{
    "int8 weights have zero point 0 and one scale, or one per output channel",
    [](const NodeView& node) -> std::string {
      const auto* w = weights(node);
      if (w->type != kTfLiteInt8) return "";
      const auto* quantization =
          static_cast<const TfLiteAffineQuantization*>(w->quantization.params);
      if (w->quantization.type != kTfLiteAffineQuantization || !quantization) return "no scales";
      const auto* zeros = quantization->zero_point;
      for (int i = 0; zeros && i < zeros->size; ++i) {
        if (zeros->data[i] != 0) return "zero point " + number(zeros->data[i]);
      }
      const int count = static_cast<int>(channel_scales(w).size());
      const int channels = dim(w, filter_dimension(node));
      if (count == 1) return "";
      if (count != channels) return number(count) + " scales for " + number(channels) + " channels";
      if (quantization->quantized_dimension != filter_dimension(node)) {
        return "scales along dimension " + number(quantization->quantized_dimension);
      }
      return "";
    }};

const Rule kPerTensor{
    "int8 activations and outputs have one positive scale and one zero point",
    [](const NodeView& node) -> std::string {
      const auto check = [](const TfLiteTensor* tensor) -> std::string {
        if (!tensor || tensor->type != kTfLiteInt8) return "";
        if (!(tensor->params.scale > 0) || !std::isfinite(tensor->params.scale)) {
          return "scale " + std::to_string(tensor->params.scale);
        }
        const int zero = tensor->params.zero_point;
        if (zero < -128 || zero > 127) return "zero point " + number(zero);
        const size_t scales = channel_scales(tensor).size();
        return scales <= 1 ? "" : number(static_cast<int>(scales)) + " scales";
      };
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const std::string broken = i == 1 && has_weights(node) ? "" : check(node.inputs[i]);
        if (!broken.empty()) return broken;
      }
      for (const auto* output : node.outputs) {
        const std::string broken = check(output);
        if (!broken.empty()) return broken;
      }
      return "";
    }};

const Rule kFourDimensions{
    "activations have four dimensions: batch, height, width, channels", [](const NodeView& node) {
      const auto* a = activations(node);
      return rank(a) == 4 ? std::string() : shape_text(a);
    }};

const Rule kFourDimensionalInput{
    "the input has four dimensions: batch, height, width, channels", [](const NodeView& node) {
      return rank(input(node, 0)) == 4 ? std::string() : shape_text(input(node, 0));
    }};

const Rule kNoGroups{
    "every filter sees all input channels (no grouped convolution)", [](const NodeView& node) {
      const int channels = dim(activations(node), 3), seen = dim(weights(node), 3);
      return channels == seen ? std::string()
                              : number(channels) + " channels, filters of depth " + number(seen);
    }};

const Rule kDepthMultiplier{
    "output channels are a whole multiple of the input channels", [](const NodeView& node) {
      const int channels = dim(activations(node), 3), out = dim(weights(node), 3);
      const bool fine = dim(weights(node), 0) == 1 && channels > 0 && out % channels == 0;
      return fine ? std::string() : number(channels) + " and " + number(out) + " channels";
    }};

const Rule kStrides{
    "strides and dilations are 1 or more", [](const NodeView& node) -> std::string {
      int values[4] = {1, 1, 1, 1};
      if (node.builtin == kConv2d) {
        const auto* p = static_cast<const TfLiteConvParams*>(node.params);
        values[0] = p->stride_height, values[1] = p->stride_width;
        values[2] = p->dilation_height_factor, values[3] = p->dilation_width_factor;
      } else if (node.builtin == kDepthwiseConv2d) {
        const auto* p = static_cast<const TfLiteDepthwiseConvParams*>(node.params);
        values[0] = p->stride_height, values[1] = p->stride_width;
        values[2] = p->dilation_height_factor, values[3] = p->dilation_width_factor;
      } else if (is_transpose(node)) {
        const auto* p = static_cast<const TfLiteTransposeConvParams*>(node.params);
        values[0] = p->stride_height, values[1] = p->stride_width;
      } else {
        const auto* p = static_cast<const TfLitePoolParams*>(node.params);
        values[0] = p->stride_height, values[1] = p->stride_width;
        values[2] = p->filter_height, values[3] = p->filter_width;
      }
      for (const int value : values) {
        if (value < 1) return number(value);
      }
      return "";
    }};

const Rule kPadding{
    "padding is SAME or VALID", [](const NodeView& node) {
      TfLitePadding padding;  // the first field of all four
      std::memcpy(&padding, node.params, sizeof padding);
      const bool known = padding == kTfLitePaddingSame || padding == kTfLitePaddingValid;
      return known ? std::string() : "padding " + number(padding);
    }};

const Rule kActivation{
    "the fused activation is none, RELU, RELU_N1_TO_1 or RELU6", [](const NodeView& node) {
      const int activation = fused_activation(node);
      const bool known = activation >= kTfLiteActNone && activation <= kTfLiteActRelu6;
      return known ? std::string() : "activation " + number(activation);
    }};

const Rule kOutputShape{
    "the output shape is constant", [](const NodeView& node) {
      const auto* shape = input(node, 0);
      const bool fine = shape && is_constant(shape) && shape->type == kTfLiteInt32 &&
                        rank(shape) == 1 && dim(shape, 0) == 4;
      return fine ? std::string() : std::string("a shape computed at run time");
    }};

const Rule kDenseWeights{
    "weights have two dimensions, outputs and inputs, in the default layout",
    [](const NodeView& node) -> std::string {
      const auto* p = static_cast<const TfLiteFullyConnectedParams*>(node.params);
      if (p->weights_format != 0) return "weights format " + number(p->weights_format);
      return rank(weights(node)) == 2 ? "" : shape_text(weights(node));
    }};

const Rule kInt8{
    "inputs and output are int8", [](const NodeView& node) -> std::string {
      const auto* first = input(node, 0);
      if (first && first->type != kTfLiteInt8) return type_name(first);
      if (node.outputs[0]->type != kTfLiteInt8) return type_name(node.outputs[0]);
      return first ? "" : "no input";
    }};

const Rule kTwoInt8{
    "both inputs are int8", [](const NodeView& node) -> std::string {
      const auto *a = input(node, 0), *b = input(node, 1);
      if (a && b && a->type == kTfLiteInt8 && b->type == kTfLiteInt8) return "";
      return type_name(a) + " and " + type_name(b);
    }};

const Rule kBroadcast{
    "tensors have at most four dimensions", [](const NodeView& node) -> std::string {
      for (const auto* tensor : node.inputs) {
        if (tensor && rank(tensor) > 4) return shape_text(tensor);
      }
      return "";
    }};

const Rule kSameQuantization{
    "inputs and output share one scale and zero point", [](const NodeView& node) -> std::string {
      const bool all_inputs = node.builtin == kConcatenation;
      for (size_t i = 0; i < (all_inputs ? node.inputs.size() : 1); ++i) {
        if (!same_quantization(input(node, i), node.outputs[0])) {
          return quantization_text(input(node, i)) + " against " +
                 quantization_text(node.outputs[0]);
        }
      }
      return "";
    }};

const Rule kAllInt8{
    "all inputs are int8", [](const NodeView& node) -> std::string {
      for (const auto* tensor : node.inputs) {
        if (!tensor || tensor->type != kTfLiteInt8) return type_name(tensor);
      }
      return "";
    }};

const Rule kNoConcatenationActivation{
    "there is no fused activation", [](const NodeView& node) {
      const int activation = static_cast<const TfLiteConcatenationParams*>(node.params)->activation;
      return activation == 0 ? std::string() : "activation " + number(activation);
    }};

bool constant_int32(const TfLiteTensor* tensor) {
  return tensor && is_constant(tensor) && tensor->type == kTfLiteInt32;
}

const Rule kConstantAxes{
    "the axes are a constant int32 tensor", [](const NodeView& node) {
      return constant_int32(input(node, 1)) ? std::string() : "axes of " + type_name(input(node, 1));
    }};

const Rule kConstantPaddings{
    "the paddings are a constant int32 tensor of at most four rows", [](const NodeView& node) {
      const auto* paddings = input(node, 1);
      const bool fine = constant_int32(paddings) && rank(paddings) == 2 && dim(paddings, 1) == 2 &&
                        dim(paddings, 0) == rank(input(node, 0)) && dim(paddings, 0) <= 4;
      return fine ? std::string() : "paddings of " + type_name(paddings);
    }};

const Rule kConstantShape{
    "the new shape is constant", [](const NodeView& node) {
      const auto* shape = input(node, 1);
      return !shape || constant_int32(shape) ? std::string() : std::string("a computed shape");
    }};

const Rule kConstantSize{
    "the size is a constant of two int32", [](const NodeView& node) {
      const auto* size = input(node, 1);
      const bool fine = constant_int32(size) && rank(size) == 1 && dim(size, 0) == 2;
      return fine ? std::string() : std::string("a computed size");
    }};

const Rule kHalfPixelOrCorners{
    "half_pixel_centers and align_corners are not both set", [](const NodeView& node) {
      const auto* p = static_cast<const TfLiteResizeParams*>(node.params);
      const bool both = p->half_pixel_centers && p->align_corners;
      return both ? std::string("both") : std::string();
    }};

const Rule kProbabilityScale{
    "the output has scale 1/256 and zero point -128", [](const NodeView& node) {
      const auto& params = node.outputs[0]->params;
      const bool fine =
          std::abs(params.scale - 1.0f / 256) <= 0.001f / 256 && params.zero_point == -128;
      return fine ? std::string() : quantization_text(node.outputs[0]);
    }};

const Rule kSomeDimensions{
    "the input has at least one dimension", [](const NodeView& node) {
      return rank(input(node, 0)) >= 1 ? std::string() : std::string("a scalar");
    }};

const Rule kQuantizeTypes{
    "float32 or int8 becomes int8", [](const NodeView& node) {
      const auto *in = input(node, 0), *out = node.outputs[0];
      const bool fine = (in->type == kTfLiteFloat32 || in->type == kTfLiteInt8) &&
                        out->type == kTfLiteInt8;
      return fine ? std::string() : type_name(in) + " to " + type_name(out);
    }};

const Rule kDequantizeTypes{
    "int8 becomes float32", [](const NodeView& node) {
      const auto *in = input(node, 0), *out = node.outputs[0];
      const bool fine = in->type == kTfLiteInt8 && out->type == kTfLiteFloat32;
      return fine ? std::string() : type_name(in) + " to " + type_name(out);
    }};

const Rule kComputedInput{
    "the input is computed, not constant", [](const NodeView& node) {
      return is_constant(input(node, 0)) ? std::string("a constant") : std::string();
    }};

const Rule kHardSwishScale{
    "the output's scale is not below 1/128 of the input's", [](const NodeView& node) {
      const float ratio = input(node, 0)->params.scale / 128 / node.outputs[0]->params.scale;
      return ratio < 1 ? std::string() : quantization_text(node.outputs[0]);
    }};

}  // namespace

bool is_constant(const TfLiteTensor* tensor) {
  return tensor && tensor->allocation_type == kTfLiteMmapRo && tensor->data;
}

std::vector<float> channel_scales(const TfLiteTensor* tensor) {
  const auto* quantization =
      static_cast<const TfLiteAffineQuantization*>(tensor->quantization.params);
  const bool affine = tensor->quantization.type == kTfLiteAffineQuantization && quantization &&
                      quantization->scale && quantization->zero_point;
  if (!affine) return {tensor->params.scale};
  // Today {int size; float data[]}; TensorFlow's head has {float* data; int size}. There are as
  // many zero points as scales, which tells the layouts apart.
  const int count = quantization->zero_point->size;
  const char* bytes = static_cast<const char*>(quantization->scale);
  int first;
  std::memcpy(&first, bytes, sizeof first);
  const float* data;
  if (first == count) {
    data = reinterpret_cast<const float*>(bytes + sizeof(int));
  } else {
    int size;
    std::memcpy(&size, bytes + sizeof(float*), sizeof size);
    if (size != count) return {tensor->params.scale};
    std::memcpy(&data, bytes, sizeof data);
  }
  return {data, data + count};
}

const std::vector<OperatorRules>& operator_rules() {
  static const std::vector<OperatorRules> all = {
      {kConv2d, "CONV_2D",
       {&kMacTypes, &kFloatExact, &kConstantWeights, &kBiasType, &kBiasLength, &kWeightQuantization, &kPerTensor,
        &kFourDimensions, &kNoGroups, &kStrides, &kPadding, &kActivation}},
      {kDepthwiseConv2d, "DEPTHWISE_CONV_2D",
       {&kMacTypes, &kFloatExact, &kConstantWeights, &kBiasType, &kBiasLength, &kWeightQuantization, &kPerTensor,
        &kFourDimensions, &kDepthMultiplier, &kStrides, &kPadding, &kActivation}},
      {kTransposeConv, "TRANSPOSE_CONV",
       {&kMacTypes, &kFloatExact, &kConstantWeights, &kBiasType, &kBiasLength, &kWeightQuantization, &kPerTensor,
        &kOutputShape, &kFourDimensions, &kNoGroups, &kStrides, &kPadding, &kActivation}},
      {kFullyConnected, "FULLY_CONNECTED",
       {&kMacTypes, &kFloatExact, &kConstantWeights, &kBiasType, &kBiasLength, &kWeightQuantization, &kPerTensor,
        &kDenseWeights, &kActivation}},
      {kAveragePool2d, "AVERAGE_POOL_2D",
       {&kInt8, &kPerTensor, &kSameQuantization, &kFourDimensionalInput, &kStrides, &kPadding,
        &kActivation}},
      {kMaxPool2d, "MAX_POOL_2D",
       {&kInt8, &kPerTensor, &kSameQuantization, &kFourDimensionalInput, &kStrides, &kPadding,
        &kActivation}},
      {kMean, "MEAN", {&kInt8, &kPerTensor, &kSomeDimensions, &kConstantAxes}},
      {kAdd, "ADD", {&kTwoInt8, &kInt8, &kPerTensor, &kBroadcast, &kActivation}},
      {kMul, "MUL", {&kTwoInt8, &kInt8, &kPerTensor, &kBroadcast, &kActivation}},
      {kConcatenation, "CONCATENATION",
       {&kAllInt8, &kInt8, &kPerTensor, &kSameQuantization, &kNoConcatenationActivation}},
      {kPad, "PAD", {&kInt8, &kPerTensor, &kSameQuantization, &kConstantPaddings}},
      {kRelu, "RELU", {&kInt8, &kPerTensor}},
      {kReluN1To1, "RELU_N1_TO_1", {&kInt8, &kPerTensor}},
      {kRelu6, "RELU6", {&kInt8, &kPerTensor}},
      {kLeakyRelu, "LEAKY_RELU", {&kInt8, &kPerTensor}},
      {kPrelu, "PRELU", {&kTwoInt8, &kInt8, &kPerTensor, &kBroadcast}},
      {kHardSwish, "HARD_SWISH", {&kInt8, &kPerTensor, &kHardSwishScale}},
      {kLogistic, "LOGISTIC", {&kInt8, &kPerTensor, &kProbabilityScale}},
      {kSoftmax, "SOFTMAX", {&kInt8, &kPerTensor, &kSomeDimensions, &kProbabilityScale}},
      {kReshape, "RESHAPE", {&kInt8, &kPerTensor, &kComputedInput, &kConstantShape}},
      {kQuantize, "QUANTIZE", {&kQuantizeTypes, &kPerTensor, &kComputedInput}},
      {kDequantize, "DEQUANTIZE", {&kDequantizeTypes, &kPerTensor, &kComputedInput}},
      {kResizeBilinear, "RESIZE_BILINEAR",
       {&kInt8, &kPerTensor, &kSameQuantization, &kFourDimensionalInput, &kConstantSize,
        &kHalfPixelOrCorners}},
      {kResizeNearestNeighbor, "RESIZE_NEAREST_NEIGHBOR",
       {&kInt8, &kPerTensor, &kSameQuantization, &kFourDimensionalInput, &kConstantSize}},
  };
  return all;
}

// Whether the operator's options are read.
static bool has_params(int builtin) {
  switch (builtin) {
    case kRelu:
    case kReluN1To1:
    case kRelu6:
    case kPrelu:
    case kHardSwish:
    case kLogistic:
    case kQuantize:
    case kDequantize:
    case kPad:
    case kReshape:
      return false;
    default:
      return true;
  }
}

std::string builtin_name(int builtin) {
  const bool known = builtin >= 0 && builtin < static_cast<int>(std::size(kBuiltinNames));
  return known ? kBuiltinNames[builtin] : "operator " + std::to_string(builtin);
}

std::string refusal(const NodeView& node, const std::string& custom_name) {
  for (const auto& entry : operator_rules()) {
    if (entry.builtin != node.builtin) continue;
    const bool whole = node.outputs.size() == 1 && node.outputs[0] && !node.inputs.empty() &&
                       activations(node) && (node.params || !has_params(node.builtin));
    if (!whole) return std::string(entry.name) + ": an input, the output or the options are missing";
    for (const Rule* rule : entry.rules) {
      const std::string received = rule->broken(node);
      if (!received.empty()) {
        return std::string(entry.name) + ": " + rule->text + ". Received: " + received;
      }
    }
    return "";
  }
  const std::string name = custom_name.empty() ? builtin_name(node.builtin) : custom_name;
  return name + ": the NEPU has no such operator";
}

}  // namespace edgekit
