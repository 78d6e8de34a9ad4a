// Sums of products of rows and filters: int8 codes, looked-up products, floats; and requantisation.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace edgekit {

using ProductTable = std::array<int32_t, 65536>;  // [activation code as uint8][weight as uint8]

class PackedInt8 {
 public:
  PackedInt8(const int8_t* weights, int filters, int depth)
      : filters_(filters), depth_(depth), weights_(weights, weights + int64_t{filters} * depth) {}
  int filters() const { return filters_; }
  int depth() const { return depth_; }
  const int8_t* filter(int index) const { return weights_.data() + int64_t{index} * depth_; }

 private:
  int filters_, depth_;
  std::vector<int8_t> weights_;
};

void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedInt8& weights,
              int32_t* sums, int64_t sums_stride);

class PackedTable {
 public:
  PackedTable(const int8_t* weights, int filters, int depth, const ProductTable& products)
      : filters_(filters),
        depth_(depth),
        weights_(weights, weights + int64_t{filters} * depth),
        products_(products) {}
  int filters() const { return filters_; }
  int depth() const { return depth_; }
  const int8_t* filter(int index) const { return weights_.data() + int64_t{index} * depth_; }
  const ProductTable& products() const { return products_; }

 private:
  int filters_, depth_;
  std::vector<int8_t> weights_;
  ProductTable products_;
};

void multiply(const int8_t* rows, int row_count, int64_t row_stride, const PackedTable& weights,
              int32_t* sums, int64_t sums_stride);

class PackedFloat {
 public:
  PackedFloat(const float* weights, int filters, int depth)
      : filters_(filters), depth_(depth), weights_(weights, weights + int64_t{filters} * depth) {}
  int filters() const { return filters_; }
  int depth() const { return depth_; }
  const float* filter(int index) const { return weights_.data() + int64_t{index} * depth_; }

 private:
  int filters_, depth_;
  std::vector<float> weights_;
};

void multiply(const float* rows, int row_count, int64_t row_stride, const PackedFloat& weights,
              float* sums, int64_t sums_stride);

void requantize(const int32_t* sums, int row_count, int filters, int64_t sums_stride,
                const int32_t* biases, const int32_t* multipliers, const int32_t* shifts,
                int32_t output_zero, int32_t low, int32_t high, int8_t* out, int64_t out_stride);

const char* kernel_name();

}  // namespace edgekit
