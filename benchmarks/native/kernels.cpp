// Times whole convolutions of every variant of the kernels: one line per repetition,
// "variant,arithmetic,shape,MACs,seconds". Usage: kernels REPETITIONS [VARIANT...]
#include <time.h>

#include <cstdio>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gemm.h"

using namespace edgekit;

namespace {

struct Layer {
  const char* name;
  ConvShape shape;
  int filters;
  bool depthwise;
};

ConvShape square(int size, int channels, int kernel, int padding) {
  ConvShape s;
  s.in_height = s.in_width = size;
  s.in_channels = channels;
  s.kernel_height = s.kernel_width = kernel;
  s.pad_top = s.pad_left = padding;
  s.out_height = s.out_width = size;
  return s;
}

// AlexNet's second and third convolution and first dense layer, then two of MobileNet's kinds.
const Layer kLayers[] = {
    {"26x26x64->256 5x5", square(26, 64, 5, 2), 256, false},
    {"12x12x256->386 3x3", square(12, 256, 3, 1), 386, false},
    {"dense 9216->4096", square(1, 9216, 1, 0), 4096, false},
    {"56x56x64->128 1x1", square(56, 64, 1, 0), 128, false},
    {"112x112x16->24 1x1", square(112, 16, 1, 0), 24, false},
    {"depthwise 56x56x144 3x3", square(56, 144, 3, 1), 144, true},
};

std::mt19937 generator(1);

std::vector<int8_t> codes(int64_t count) {
  std::vector<int8_t> drawn(count);
  for (auto& code : drawn) code = static_cast<int8_t>(generator() % 255 - 127);
  return drawn;
}

struct Work {
  std::string variant, arithmetic;
  const Layer* layer;
  std::function<void()> run;
};

// Of this thread alone: what other programs take does not count.
double processor_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds(const std::function<void()>& run) {
  const double start = processor_seconds();
  run();
  return processor_seconds() - start;
}

// A chain of operations, one a cycle on the CPUs in question: the clock, and how much of the core
// this thread has.
void chain() {
  uint64_t value = 1;
  for (int i = 0; i < 1000000; ++i) {
#if defined(__x86_64__)
    __asm__ volatile("ror $1, %0\n\tror $1, %0\n\tror $1, %0\n\tror $1, %0" : "+r"(value));
#elif defined(__aarch64__)
    __asm__ volatile("add %0, %0, #1\n\tadd %0, %0, #1\n\tadd %0, %0, #1\n\tadd %0, %0, #1"
                     : "+r"(value));
#endif
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::atoi(argv[1]) : 5;
  std::vector<std::string> names(argv + (argc > 2 ? 2 : argc), argv + argc);
  if (names.empty())
    for (auto name = kernel_names(); *name; ++name) names.emplace_back(*name);
  ProductTable table;
  for (int a = 0; a < 256; ++a)
    for (int w = 0; w < 256; ++w)
      table[a * 256 + w] = static_cast<int8_t>(a) * static_cast<int8_t>(w) / 4 * 4;
  std::vector<Work> works;
  Workspace space;
  std::vector<int8_t> output(1 << 22);
  std::vector<int8_t> rounded(1 << 22);
  std::vector<float> float_output(1 << 22);
  for (const Layer& layer : kLayers) {
    const ConvShape& s = layer.shape;
    const int64_t inputs = int64_t{s.in_height} * s.in_width * s.in_channels;
    const int64_t count =
        layer.depthwise ? s.depth() : int64_t{layer.filters} * s.depth();
    auto* input = new std::vector<int8_t>(codes(inputs));
    const auto weights = codes(count);
    auto* floats = new std::vector<float>(input->begin(), input->end());
    const std::vector<float> float_weights(weights.begin(), weights.end());
    auto* biases = new std::vector<int32_t>(layer.filters, 1000);
    auto* multipliers = new std::vector<int32_t>(layer.filters, 1518500250);
    auto* shifts = new std::vector<int32_t>(layer.filters, -11);
    const Requantization scale = {biases->data(), multipliers->data(), shifts->data(), 3, -128, 127};
    for (const std::string& name : names) {
      if (!use_kernels(name.c_str())) {
        std::fprintf(stderr, "no such kernels: %s\n", name.c_str());
        return 2;
      }
      const auto add = [&](const char* arithmetic, auto packed) {
        works.push_back({name, arithmetic, &layer, [&, s, input, packed, scale] {
                           convolve(input->data(), s, -7, packed, scale, output.data(), space);
                         }});
      };
      if (layer.depthwise) {
        add("int8", PackedDepthwise(weights.data(), s.kernel_height * s.kernel_width, layer.filters));
        continue;
      }
      const PackedInt8 packed(weights.data(), layer.filters, s.depth());
      add("int8", packed);
      works.push_back({name, "int8 at 5 bits", &layer, [&, s, input, packed, scale, inputs] {
                         round_to_bits(input->data(), inputs, 5, rounded.data());
                         convolve(rounded.data(), s, -8, packed, scale, output.data(), space);
                       }});
      add("table", PackedTable(weights.data(), layer.filters, s.depth(), table));
      const PackedFloat packed_float(float_weights.data(), layer.filters, s.depth());
      works.push_back({name, "float32", &layer, [&, s, floats, packed_float] {
                         const float most = std::numeric_limits<float>::infinity();
                         convolve(floats->data(), s, packed_float, nullptr, -most, most,
                                  float_output.data(), space);
                       }});
    }
  }
  // requantize() alone follows the variant in use; what is packed keeps its own.
  for (int i = 0; i < repetitions; ++i) {
    std::printf("clock,cycles,chain,%d,%.9f\n", 4000000, seconds(chain));
    for (const Work& work : works) {
      use_kernels(work.variant.c_str());
      work.run();  // whatever ran before, its own weights are in the caches now
      const double taken = seconds(work.run);
      const ConvShape& s = work.layer->shape;
      const int64_t macs =
          s.rows() * s.depth() * (work.layer->depthwise ? 1 : work.layer->filters);
      std::printf("%s,%s,%s,%lld,%.9f\n", work.variant.c_str(), work.arithmetic.c_str(),
                  work.layer->name, static_cast<long long>(macs), taken);
    }
  }
}
