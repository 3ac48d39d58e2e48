// What the operations need of PyTorch, over its stable ABI: checks, memory, threads.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include "kernels.h"

namespace saam {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;
using Sizes = torch::headeronly::IntHeaderOnlyArrayRef;

// ---- Checks ----------------------------------------------------------------------------------------------------

template <class F> auto with_dtype(const Tensor& x, F&& work) {
  switch (x.scalar_type()) {
    case ScalarType::Float: return work(float{});
    case ScalarType::Double: return work(double{});
    case ScalarType::BFloat16: return work(BFloat16{});
    case ScalarType::Half: return work(Half{});
    default: STD_TORCH_CHECK(false, "expected float32, float64, bfloat16 or float16");
  }
}

template <class A> constexpr ScalarType kDtype = std::is_same_v<A, double> ? ScalarType::Double : ScalarType::Float;

bool is_interleaved(const Tensor& x) {
  const Sizes size = x.sizes(), stride = x.strides();
  const int64_t channels = size[1], height = size[2], width = size[3];
  if (channels == 1) return false;
  return stride[1] == 1 && (width == 1 || stride[3] == channels) && (height == 1 || stride[2] == channels * width) &&
         (size[0] == 1 || stride[0] == channels * width * height);
}

// The sizes of a map. It takes as many workers as it deserves, and if there are fewer images than workers, the images
// are cut along an axis, &Shape::channels or &Shape::pixels.
Shape shape_of(const Tensor& x, int64_t Shape::* axis) {
  constexpr int64_t kPerWorker = 16384, kPerSlice = 16;
  STD_TORCH_CHECK(x.dim() == 4, "expected a map (B, C, H, W)");
  const Sizes size = x.sizes();
  Shape shape{size[0], size[1], size[2] * size[3], is_interleaved(x), 1, 1};
  STD_TORCH_CHECK(shape.interleaved || x.is_contiguous(), "the map must be contiguous or channels_last");
  STD_TORCH_CHECK(shape.channels > 0 && shape.pixels > 0, "the map must have channels and pixels");
  shape.workers = std::clamp<int64_t>(x.numel() / kPerWorker, 1, torch::stable::get_num_threads());
  const int64_t wanted = (shape.workers + shape.batch - 1) / std::max<int64_t>(shape.batch, 1);
  shape.slices = std::clamp<int64_t>(wanted, 1, std::max<int64_t>(shape.*axis / kPerSlice, 1));
  return shape;
}

template <class T> const T* data(const Tensor& values) { return static_cast<const T*>(values.const_data_ptr()); }
template <class T> T* writable(const Tensor& values) { return static_cast<T*>(values.mutable_data_ptr()); }

// The values of a map that has dtype, size and layout of x.
template <class T> const T* matching(const Tensor& x, const Tensor& other) {
  STD_TORCH_CHECK(other.scalar_type() == x.scalar_type() && other.numel() == x.numel(), "maps must match");
  const bool interleaved = is_interleaved(x);
  const bool same = is_interleaved(other) == interleaved && (interleaved || other.is_contiguous());
  STD_TORCH_CHECK(same, "maps must have the same layout");
  return data<T>(other);
}

// The values of a small tensor that the kernels compute with.
template <class A> const A* values(const Tensor& tensor, int64_t count) {
  STD_TORCH_CHECK(tensor.scalar_type() == kDtype<A>,
                  "per-channel values must be float32, or float64 for a float64 map");
  STD_TORCH_CHECK(tensor.is_contiguous() && tensor.numel() == count, "per-channel values must be dense and complete");
  return data<A>(tensor);
}

// ---- Memory ----------------------------------------------------------------------------------------------------

Tensor strided(ScalarType dtype, Sizes sizes, Sizes strides) {
  AtenTensorHandle handle;
  STABLE_TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(), strides.data(),
                               torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype)),
                               aoti_torch_device_type_cpu(), 0, &handle));
  return Tensor(handle);
}

Tensor dense(ScalarType dtype, Sizes sizes) {
  std::array<int64_t, 4> strides;
  int64_t step = 1;
  for (size_t i = sizes.size(); i-- > 0; step *= std::max<int64_t>(sizes[i], 1)) strides[i] = step;
  return strided(dtype, sizes, {strides.data(), sizes.size()});
}

// A tensor of one number and strides 0: it stands for a tensor of this shape in autograd and takes no memory.
Tensor token(ScalarType dtype, Sizes sizes) {
  constexpr std::array<int64_t, 4> strides{};
  Tensor result = strided(dtype, sizes, {strides.data(), sizes.size()});
  if (result.numel() > 0) std::memset(result.mutable_data_ptr(), 0, result.element_size());
  return result;
}

// Memory for a map like x. What malloc takes from the system at every call, because it is too large to be kept (32
// MiB), is asked for in huge pages: with small ones, half of the time of the first write goes into page faults.
Tensor new_map(const Tensor& x) {
  Tensor map = strided(x.scalar_type(), x.sizes(), x.strides());
#ifdef __linux__
  constexpr uintptr_t kKept = 32 << 20, kPage = 2 << 20;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(map.mutable_data_ptr());
  const uintptr_t end = begin + map.numel() * map.element_size(), first = (begin + kPage - 1) / kPage * kPage;
  if (end - begin >= kKept) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
  return map;
}

// Runs a kernel on all items, in equal shares.
template <class Arguments> void run(Kernel<Arguments> kernel, const std::type_identity_t<Arguments>& t) {
  const int64_t workers = t.shape.workers, items = t.shape.batch * t.shape.slices;
  if (workers == 1) return kernel(t, {0, 0, items});
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t w = begin; w < end; ++w) kernel(t, {w, items * w / workers, items * (w + 1) / workers});
  });
}

}  // namespace
}  // namespace saam
