// What the delegate claims, and the operators that run what it claimed.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "arithmetic.h"
#include "tflite_abi.h"

namespace edgekit {

// A failure with a sentence for the user: caught at the border to the runtime.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A node as the runtime shows it when the delegate chooses; an omitted optional tensor is null.
struct NodeView {
  int builtin;
  const void* params;
  std::vector<const TfLiteTensor*> inputs, outputs;
  const Options* options;
};

// One constraint of one or more operators; its text is documentation and message alike.
struct Rule {
  const char* text;
  // Empty if the node keeps to the rule; else what was received.
  std::string (*broken)(const NodeView&);
};

struct OperatorRules {
  int builtin;
  const char* name;
  std::vector<const Rule*> rules;
};

const std::vector<OperatorRules>& operator_rules();

// "" if the delegate takes the node; else the operator's name and why it stays on the CPU.
std::string refusal(const NodeView& node, const std::string& custom_name);
std::string builtin_name(int builtin);

bool is_constant(const TfLiteTensor* tensor);
// Scales of a constant's channels: one per tensor or one per channel.
std::vector<float> channel_scales(const TfLiteTensor* tensor);

using Shape = std::vector<int>;
int64_t elements(const Shape& shape);
// Throws Failure: a resized input may have any number of dimensions.
void need_four_dimensions(int builtin, const Shape& shape);

// A tensor while the delegate runs: shapes as they are now, data wherever they lie.
struct Tensor {
  const TfLiteTensor* described;
  Shape shape;
  void* data = nullptr;

  float scale() const { return described->params.scale; }
  int32_t zero() const { return described->params.zero_point; }
  bool is_int8() const { return described->type == kTfLiteInt8; }
  int64_t bytes() const;
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
};
using Tensors = std::vector<Tensor*>;  // an omitted optional tensor is null

struct Counts {
  int64_t macs = 0;
  int64_t skipped_macs = 0;
  int64_t saturations = 0;
};

// Tells apart the noise of nodes and of a node's runs.
struct NoiseKey {
  uint64_t node = 0, run = 0;
};

class Operator {
 public:
  virtual ~Operator() = default;
  // Sets the outputs' shapes from the inputs'; may be called any number of times.
  virtual void prepare(const Tensors& inputs, const Tensors& outputs) = 0;
  virtual void run(const Tensors& inputs, const Tensors& outputs, NoiseKey key, Counts* counts) = 0;
};

std::unique_ptr<Operator> make_operator(const NodeView& node);
std::unique_ptr<Operator> make_mac_operator(const NodeView& node);  // the convolutions and FC

// Output size and padding before the first element along one dimension.
struct Window {
  int out, before;
};
Window window(TfLitePadding padding, int in, int filter, int stride, int dilation);

}  // namespace edgekit
