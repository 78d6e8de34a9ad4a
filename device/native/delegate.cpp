// The border to the runtime: chooses nodes, runs partitions, counts events, exports C functions.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <tuple>

#include "operators.h"

namespace edgekit {
namespace {

// What one node did in one inference; also the layout that Python reads.
struct Event {
  int32_t graph, node, builtin, partition, inference, runs;
  int64_t macs, skipped_macs, saturations, bytes_in, bytes_out, bytes_weights, wall_ns;
};
static_assert(sizeof(Event) == 80);

struct Fate {  // of one node of the graph as the runtime showed it
  int node, builtin;
  std::string name, output, reason;  // no reason: claimed
};

struct Graph {
  const TfLiteContext* context;
  std::vector<Fate> fates;
  int partitions = 0;
};

struct Delegate {
  TfLiteDelegate base{};
  Options options;
  std::mutex mutex;  // two interpreters may share the delegate
  std::vector<Graph> graphs;
  std::vector<Event> events;
  std::map<std::tuple<int, int, int>, size_t> event_of;  // (inference, graph, node)
  int inference = 0;
  std::atomic<uint64_t> epoch{0};  // of the last reset: runs, and with them the noise, begin anew
  std::string coverage;

  int graph_index(const TfLiteContext* context) {
    for (size_t i = 0; i < graphs.size(); ++i) {
      if (graphs[i].context == context) return static_cast<int>(i);
    }
    graphs.push_back({context, {}});
    return static_cast<int>(graphs.size()) - 1;
  }

  void add(Event event) {
    const std::lock_guard<std::mutex> lock(mutex);
    event.inference = inference;
    const auto key = std::make_tuple(inference, event.graph, event.node);
    const auto [found, is_new] = event_of.try_emplace(key, events.size());
    if (is_new) {
      events.push_back(event);
      return;
    }
    Event& known = events[found->second];
    ++known.runs;
    known.macs += event.macs, known.skipped_macs += event.skipped_macs;
    known.saturations += event.saturations;
    known.bytes_in += event.bytes_in, known.bytes_out += event.bytes_out;
    known.bytes_weights += event.bytes_weights, known.wall_ns += event.wall_ns;
  }
};

std::vector<int> values(const TfLiteIntArray* array) {
  return array ? std::vector<int>(array->data, array->data + array->size) : std::vector<int>();
}

NodeView view(const TfLiteContext* context, const TfLiteNode& node, int builtin,
              const Options& options) {
  NodeView seen{builtin, node.builtin_data, {}, {}, &options};
  for (const int index : values(node.inputs)) {
    seen.inputs.push_back(index >= 0 ? &context->tensors[index] : nullptr);
  }
  for (const int index : values(node.outputs)) {
    seen.outputs.push_back(index >= 0 ? &context->tensors[index] : nullptr);
  }
  return seen;
}

// Runs body, whose failures become a sentence of the runtime's error.
template <typename Body>
TfLiteStatus guarded(TfLiteContext* context, Body body) {
  try {
    body();
    return kTfLiteOk;
  } catch (const std::bad_alloc&) {
    context->ReportError(context, "NEPU delegate: out of memory\n");
  } catch (const std::length_error&) {
    context->ReportError(context, "NEPU delegate: a tensor is too large\n");
  } catch (const std::runtime_error& error) {
    context->ReportError(context, "NEPU delegate: %s\n", error.what());
  }
  return kTfLiteError;
}

// Nodes that the runtime replaced by one node of this delegate.
class Partition {
 public:
  Partition(TfLiteContext* context, const TfLiteDelegateParams& params, Delegate* owner)
      : owner_(owner), outputs_(values(params.output_tensors)) {
    {
      const std::lock_guard<std::mutex> lock(owner->mutex);
      graph_ = owner->graph_index(context);
      index_ = owner->graphs[graph_].partitions++;
    }
    for (const int index : values(params.nodes_to_replace)) {
      TfLiteNode* node = nullptr;
      TfLiteRegistration* registration = nullptr;
      if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) {
        throw Failure("the runtime does not show node " + std::to_string(index));
      }
      const int builtin = registration->builtin_code;
      Step step{index, builtin, make_operator(view(context, *node, builtin, owner->options)),
                values(node->inputs), values(node->outputs), {}, {}, 0, 0};
      for (const int tensor : step.input_indices) step.inputs.push_back(slot(context, tensor));
      for (const int tensor : step.output_indices) step.outputs.push_back(slot(context, tensor));
      steps_.push_back(std::move(step));
    }
  }

  void prepare(TfLiteContext* context) {
    use_kernels(owner_->options.kernels.c_str());
    refresh(context);
    for (auto& [index, tensor] : tensors_) {
      if (!made_here(index)) tensor->shape = values(tensor->described->dims);
    }
    for (Step& step : steps_) {
      step.operation->prepare(step.inputs, step.outputs);
      for (const int index : step.output_indices) place(context, index);
    }
    refresh(context);  // resizing may have moved the runtime's tensors
  }

  void invoke(TfLiteContext* context) {
    refresh(context);
    for (Step& step : steps_) {
      const uint64_t epoch = owner_->epoch;
      if (step.epoch != epoch) step.epoch = epoch, step.runs = 0;
      Counts counts;
      const NoiseKey key{uint64_t(graph_) << 32 | uint64_t(step.node), step.runs++};
      const auto start = std::chrono::steady_clock::now();
      step.operation->run(step.inputs, step.outputs, key, &counts);
      const auto spent = std::chrono::steady_clock::now() - start;
      Event event{graph_, step.node, step.builtin, index_, 0, 1,
                  counts.macs, counts.skipped_macs, counts.saturations, 0, 0, 0,
                  std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count()};
      for (size_t i = 0; i < step.inputs.size(); ++i) {
        const Tensor* input = step.inputs[i];
        if (!input) continue;
        if (!is_constant(input->described)) {
          event.bytes_in += input->bytes();
        } else if (is_operand(step.builtin, i, *input)) {
          event.bytes_weights += input->bytes();
        }
      }
      for (const Tensor* output : step.outputs) event.bytes_out += output->bytes();
      owner_->add(event);
    }
  }

 private:
  struct Step {
    int node, builtin;
    std::unique_ptr<Operator> operation;
    std::vector<int> input_indices, output_indices;
    Tensors inputs, outputs;
    uint64_t runs, epoch;
  };

  // A constant that the device would fetch; not a shape, an axis or a size, which are in its program.
  static bool is_operand(int builtin, size_t input, const Tensor& tensor) {
    const bool has_bias = builtin == kConv2d || builtin == kDepthwiseConv2d ||
                          builtin == kFullyConnected || builtin == kTransposeConv;
    return tensor.described->type != kTfLiteInt32 || (has_bias && input >= 2);
  }

  Tensor* slot(TfLiteContext* context, int index) {
    if (index < 0) return nullptr;
    auto& tensor = tensors_[index];
    if (!tensor) tensor.reset(new Tensor{&context->tensors[index], {}});
    return tensor.get();
  }

  bool made_here(int index) const {
    return std::any_of(steps_.begin(), steps_.end(), [index](const Step& step) {
      return std::count(step.output_indices.begin(), step.output_indices.end(), index) > 0;
    });
  }

  bool is_output(int index) const {
    return std::count(outputs_.begin(), outputs_.end(), index) > 0;
  }

  // Gives a computed tensor its place: the runtime's where it asks for it, else a buffer of ours.
  void place(TfLiteContext* context, int index) {
    Tensor& tensor = *tensors_.at(index);
    if (!is_output(index)) {
      buffers_[index].resize(static_cast<size_t>(tensor.bytes()));
      return;
    }
    const size_t rank = tensor.shape.size();
    auto* size = static_cast<TfLiteIntArray*>(std::malloc(sizeof(int) * (rank + 1)));
    if (!size) throw std::bad_alloc();
    size->size = static_cast<int>(rank);
    std::copy(tensor.shape.begin(), tensor.shape.end(), size->data);
    if (context->ResizeTensor(context, &context->tensors[index], size) != kTfLiteOk) {
      throw Failure("the runtime refuses the shape of tensor " + std::to_string(index));
    }
  }

  void refresh(TfLiteContext* context) {
    for (auto& [index, tensor] : tensors_) {
      tensor->described = &context->tensors[index];
      const auto buffer = buffers_.find(index);
      tensor->data = buffer != buffers_.end() ? buffer->second.data() : context->tensors[index].data;
    }
  }

  Delegate* owner_;
  int graph_ = 0, index_ = 0;
  std::vector<int> outputs_;
  std::map<int, std::unique_ptr<Tensor>> tensors_;
  std::map<int, std::vector<uint8_t>> buffers_;
  std::vector<Step> steps_;
};

void* init_partition(TfLiteContext* context, const char* buffer, size_t) {
  const auto* params = reinterpret_cast<const TfLiteDelegateParams*>(buffer);
  Partition* partition = nullptr;
  guarded(context, [&] {
    partition = new Partition(context, *params, static_cast<Delegate*>(params->delegate->data_));
  });
  return partition;
}

void free_partition(TfLiteContext*, void* partition) { delete static_cast<Partition*>(partition); }

TfLiteStatus prepare_partition(TfLiteContext* context, TfLiteNode* node) {
  auto* partition = static_cast<Partition*>(node->user_data);
  if (!partition) return kTfLiteError;
  return guarded(context, [&] { partition->prepare(context); });
}

TfLiteStatus invoke_partition(TfLiteContext* context, TfLiteNode* node) {
  auto* partition = static_cast<Partition*>(node->user_data);
  return guarded(context, [&] { partition->invoke(context); });
}

Fate fate_of(TfLiteContext* context, int index, const Options& options) {
  TfLiteNode* node = nullptr;
  TfLiteRegistration* registration = nullptr;
  if (context->GetNodeAndRegistration(context, index, &node, &registration) != kTfLiteOk) {
    throw Failure("the runtime does not show node " + std::to_string(index));
  }
  const std::string custom = registration->custom_name ? registration->custom_name : "";
  const NodeView seen = view(context, *node, registration->builtin_code, options);
  const bool named = !seen.outputs.empty() && seen.outputs[0] && seen.outputs[0]->name;
  return {index, registration->builtin_code,
          custom.empty() ? builtin_name(registration->builtin_code) : custom,
          named ? seen.outputs[0]->name : "", refusal(seen, custom)};
}

TfLiteStatus prepare_delegate(TfLiteContext* context, TfLiteDelegate* base) {
  auto* delegate = static_cast<Delegate*>(base->data_);
  TfLiteStatus status = kTfLiteOk;
  const TfLiteStatus prepared = guarded(context, [&] {
    TfLiteIntArray* plan = nullptr;
    if (context->GetExecutionPlan(context, &plan) != kTfLiteOk) {
      throw Failure("the runtime shows no execution plan");
    }
    std::vector<Fate> fates;
    std::vector<int> claimed(1, 0);  // a TfLiteIntArray: its size, then the nodes
    for (const int index : values(plan)) {
      fates.push_back(fate_of(context, index, delegate->options));
      if (fates.back().reason.empty()) claimed.push_back(index);
    }
    claimed[0] = static_cast<int>(claimed.size()) - 1;
    {
      const std::lock_guard<std::mutex> lock(delegate->mutex);
      Graph& graph = delegate->graphs[delegate->graph_index(context)];
      graph.fates = std::move(fates);
      graph.partitions = 0;
    }
    if (claimed[0] == 0) return;
    TfLiteRegistration registration{};
    registration.init = init_partition;
    registration.free = free_partition;
    registration.prepare = prepare_partition;
    registration.invoke = invoke_partition;
    registration.custom_name = "EdgeKitNEPU";
    registration.version = 1;
    status = context->ReplaceNodeSubsetsWithDelegateKernels(
        context, registration, reinterpret_cast<const TfLiteIntArray*>(claimed.data()), base);
  });
  return prepared == kTfLiteOk ? status : prepared;
}

std::string quoted(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      (json += '\\') += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      json += code;
    } else {
      json += c;
    }
  }
  return json + "\"";
}

std::string coverage_json(const std::vector<Graph>& graphs) {
  std::string json = "[";
  for (size_t g = 0; g < graphs.size(); ++g) {
    json += std::string(g ? "," : "") + "{\"graph\":" + std::to_string(g) +
            ",\"partitions\":" + std::to_string(graphs[g].partitions) + ",\"nodes\":[";
    const char* comma = "";
    for (const Fate& fate : graphs[g].fates) {
      json += comma + ("{\"node\":" + std::to_string(fate.node)) +
              ",\"operator\":" + quoted(fate.name) + ",\"output\":" + quoted(fate.output) +
              ",\"reason\":" + (fate.reason.empty() ? "null" : quoted(fate.reason)) + "}";
      comma = ",";
    }
    json += "]}";
  }
  return json + "]";
}

std::string rules_json() {
  std::string json = "[";
  for (const OperatorRules& entry : operator_rules()) {
    json += std::string(json.size() > 1 ? "," : "") + "{\"operator\":" + quoted(entry.name) +
            ",\"rules\":[";
    for (size_t i = 0; i < entry.rules.size(); ++i) {
      json += (i ? "," : "") + quoted(entry.rules[i]->text);
    }
    json += "]}";
  }
  return json + "]";
}

}  // namespace
}  // namespace edgekit

using edgekit::Delegate;
using edgekit::Event;

#define EDGEKIT_EXPORT extern "C" __attribute__((visibility("default")))

// The two functions that a runtime looks for.

EDGEKIT_EXPORT TfLiteDelegate* tflite_plugin_create_delegate(const char* const* keys,
                                                             const char* const* values,
                                                             size_t count,
                                                             void (*report_error)(const char*)) {
  try {
    auto delegate = std::make_unique<Delegate>();
    delegate->options = edgekit::parse_options(keys, values, count);
    delegate->base.data_ = delegate.get();
    delegate->base.Prepare = edgekit::prepare_delegate;
    delegate->base.flags = kTfLiteDelegateFlagsAllowDynamicTensors;
    return &delegate.release()->base;
  } catch (const std::bad_alloc&) {
    if (report_error) report_error("NEPU delegate: out of memory");
  } catch (const std::invalid_argument& error) {
    if (report_error) report_error(error.what());
  }
  return nullptr;
}

EDGEKIT_EXPORT void tflite_plugin_destroy_delegate(TfLiteDelegate* delegate) {
  if (delegate) delete static_cast<Delegate*>(delegate->data_);
}

// What Python reads; strings stay valid until the next call with the same delegate.

EDGEKIT_EXPORT const char* edgekit_nepu_coverage(TfLiteDelegate* base) {
  auto* delegate = static_cast<Delegate*>(base->data_);
  const std::lock_guard<std::mutex> lock(delegate->mutex);
  delegate->coverage = edgekit::coverage_json(delegate->graphs);
  return delegate->coverage.c_str();
}

// Copies up to `capacity` events and gives how many there are.
EDGEKIT_EXPORT size_t edgekit_nepu_events(TfLiteDelegate* base, Event* out, size_t capacity) {
  auto* delegate = static_cast<Delegate*>(base->data_);
  const std::lock_guard<std::mutex> lock(delegate->mutex);
  std::copy_n(delegate->events.begin(), std::min(capacity, delegate->events.size()), out);
  return delegate->events.size();
}

// Events from here on belong to the next inference.
EDGEKIT_EXPORT void edgekit_nepu_next_inference(TfLiteDelegate* base) {
  auto* delegate = static_cast<Delegate*>(base->data_);
  const std::lock_guard<std::mutex> lock(delegate->mutex);
  ++delegate->inference;
}

// Forgets the events so far; inferences and the noise go on.
EDGEKIT_EXPORT void edgekit_nepu_forget_events(TfLiteDelegate* base) {
  auto* delegate = static_cast<Delegate*>(base->data_);
  const std::lock_guard<std::mutex> lock(delegate->mutex);
  delegate->events.clear();
  delegate->event_of.clear();
}

// Forgets all events; inferences and the noise begin anew.
EDGEKIT_EXPORT void edgekit_nepu_reset(TfLiteDelegate* base) {
  auto* delegate = static_cast<Delegate*>(base->data_);
  const std::lock_guard<std::mutex> lock(delegate->mutex);
  delegate->events.clear();
  delegate->event_of.clear();
  delegate->inference = 0;
  ++delegate->epoch;
}

EDGEKIT_EXPORT const char* edgekit_nepu_operators() {
  static const std::string json = edgekit::rules_json();
  return json.c_str();
}

// The instruction sets that this processor can run, best first, with commas between.
EDGEKIT_EXPORT const char* edgekit_nepu_kernels() {
  static const std::string names = [] {
    std::string joined;
    for (const char* const* name = edgekit::kernel_names(); *name; ++name) {
      (joined += joined.empty() ? "" : ",") += *name;
    }
    return joined;
  }();
  return names.c_str();
}

namespace {

// Null, or what is wrong with a multiplier's name.
template <typename Body>
const char* problem_of(Body body) {
  static thread_local std::string problem;
  try {
    body();
    return nullptr;
  } catch (const std::invalid_argument& error) {
    problem = error.what();
    return problem.c_str();
  }
}

}  // namespace

// Fills 256 x 256 products of int8 codes, [activation as uint8][weight as uint8].
EDGEKIT_EXPORT const char* edgekit_nepu_products(const char* multiplier, int32_t* products) {
  return problem_of([&] {
    const auto table = edgekit::make_products(multiplier);
    for (int a = -128; a < 128; ++a) {
      for (int w = -128; w < 128; ++w) {
        const int index = uint8_t(a) * 256 + uint8_t(w);
        products[index] = table ? (*table)[index] : a * w;
      }
    }
  });
}

// Fills 256 x 256 products of unsigned operands.
EDGEKIT_EXPORT const char* edgekit_nepu_magnitudes(const char* multiplier, int32_t* products) {
  return problem_of([&] {
    const auto product = edgekit::magnitude_product(multiplier);
    for (unsigned i = 0; i < 65536; ++i) products[i] = product(i / 256, i % 256);
  });
}
