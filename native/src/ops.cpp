// The operations saam::squeeze, saam::rescale and their backwards on CPU, over PyTorch's stable ABI: checks, memory,
// threads, and the choice of the kernels for dtype and processor. Their schemas, shapes and autograd are in Python
// (saam.functional.fused), which defines them for all devices.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

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

// Kinds of squeeze, as in saam.functional.fused. Statistics are a set and their results come in this order.
enum Kind : int64_t { kMean = 1, kVariance = 2, kMax = 4, kPixel = 8, kChannel = 16, kScores = 32 };

const char* variant() {
  static const char* name = [] {
    const char* wish = std::getenv("SAAM_NATIVE_VARIANT");
    auto allowed = [&](const char* candidate) { return !wish || !*wish || std::strcmp(wish, candidate) == 0; };
#ifdef SAAM_X86
    if (allowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
      return "avx512";
    if (allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
    (void)allowed;
    return "baseline";
  }();
  return name;
}

template <class T> const Kernels<T>& kernels() {
#ifdef SAAM_X86
  static const Kernels<T>& chosen = !std::strcmp(variant(), "avx512") ? avx512::kernels<T>()
                                    : !std::strcmp(variant(), "avx2") ? avx2::kernels<T>()
                                                                      : baseline::kernels<T>();
  return chosen;
#else
  return baseline::kernels<T>();
#endif
}

template <class F> auto with_dtype(const Tensor& x, F&& work) {
  switch (x.scalar_type()) {
    case ScalarType::Float: return work(float{});
    case ScalarType::Double: return work(double{});
    case ScalarType::BFloat16: return work(BFloat16{});
    case ScalarType::Half: return work(Half{});
    default: STD_TORCH_CHECK(false, "expected float32, float64, bfloat16 or float16");
  }
}

bool is_interleaved(const Tensor& x) {
  const int64_t channels = x.size(1), height = x.size(2), width = x.size(3);
  if (channels == 1) return false;
  return x.stride(1) == 1 && (width == 1 || x.stride(3) == channels) &&
         (height == 1 || x.stride(2) == channels * width) &&
         (x.size(0) == 1 || x.stride(0) == channels * width * height);
}

// The pointer of a map that has the layout of the task, or of a dense tensor of per-channel values.
template <class T> const T* data(const Tensor& values) { return static_cast<const T*>(values.const_data_ptr()); }

template <class A> const A* per_channel(const Tensor& values, const Tensor& x, int64_t count) {
  const ScalarType wanted = x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  STD_TORCH_CHECK(values.scalar_type() == wanted, "per-channel values must be float32, or float64 for a float64 map");
  STD_TORCH_CHECK(values.is_contiguous() && values.numel() == count, "per-channel values must be dense and complete");
  return data<A>(values);
}

template <class T> Task<T> task_for(const Tensor& x) {
  STD_TORCH_CHECK(x.dim() == 4, "expected a map (B, C, H, W)");
  Task<T> t{};
  t.batch = x.size(0);
  t.channels = x.size(1);
  t.pixels = x.size(2) * x.size(3);
  t.heads = t.slices = 1;
  t.scale = 1;
  t.interleaved = is_interleaved(x);
  STD_TORCH_CHECK(t.interleaved || x.is_contiguous(), "the map must be contiguous or channels_last");
  STD_TORCH_CHECK(t.channels > 0 && t.pixels > 0, "the map must have channels and pixels");
  t.x = data<T>(x);
  return t;
}

template <class T> const T* like(const Task<T>& t, const Tensor& x, const Tensor& other) {
  STD_TORCH_CHECK(other.scalar_type() == x.scalar_type() && other.numel() == x.numel(), "maps must match");
  const bool same = is_interleaved(other) == t.interleaved && (t.interleaved || other.is_contiguous());
  STD_TORCH_CHECK(same, "maps must have the same layout");
  return data<T>(other);
}

Tensor dense(const Tensor& x, std::vector<int64_t> sizes) {
  const ScalarType dtype = x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  return torch::stable::new_empty(x, {sizes.data(), sizes.size()}, dtype);
}

// A tensor of one number and strides 0: it stands for a tensor of this shape in autograd and takes no memory.
Tensor token(const Tensor& like, ScalarType dtype, std::vector<int64_t> sizes) {
  const std::vector<int64_t> strides(sizes.size(), 0);
  int32_t device_type, device_index;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  AtenTensorHandle handle;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(
      int64_t(sizes.size()), sizes.data(), strides.data(),
      torch::stable::detail::to<int32_t>(torch::stable::detail::from(dtype)), device_type, device_index, &handle));
  Tensor result(handle);
  if (result.numel() > 0) std::memset(result.mutable_data_ptr(), 0, result.element_size());
  return result;
}

// Memory for a map like x. What malloc takes from the system at every call, because it is too large to be kept (32 MiB),
// is asked for in huge pages: with small ones, half of the time of the first write goes into page faults.
Tensor new_map(const Tensor& x) {
  Tensor map = torch::stable::empty_like(x);
#ifdef __linux__
  constexpr uintptr_t kKept = 32 << 20, kPage = 2 << 20;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(map.mutable_data_ptr());
  const uintptr_t end = begin + map.numel() * map.element_size(), first = (begin + kPage - 1) / kPage * kPage;
  if (end - begin >= kKept) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
  return map;
}

// How many workers a task of so many elements deserves.
template <class T> int64_t workers_for(const Task<T>& t) {
  constexpr int64_t kElements = 16384;
  const int64_t size = t.batch * t.channels * t.pixels;
  return std::clamp<int64_t>(size / kElements, 1, torch::stable::get_num_threads());
}

// Cuts images into slices when there are fewer of them than workers, and runs the items in equal shares.
template <class T> int64_t slices_for(const Task<T>& t, int64_t workers, int64_t most) {
  if (t.batch >= workers || t.batch == 0) return 1;
  return std::clamp<int64_t>((workers + t.batch - 1) / t.batch, 1, std::max<int64_t>(most, 1));
}

template <class T> void run(Kernel<T> kernel, const Task<T>& t, int64_t workers) {
  const int64_t items = t.batch * t.slices;
  if (workers == 1) return kernel(t, 0, 0, items);
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    for (int64_t w = begin; w < end; ++w) kernel(t, w, items * w / workers, items * (w + 1) / workers);
  });
}

// A kernel whose items are parts of the channels.
template <class T> void run_channels(Kernel<T> kernel, Task<T>& t) {
  const int64_t workers = workers_for(t);
  t.slices = slices_for(t, workers, t.channels / 16);
  run(kernel, t, workers);
}

// Joins what the items of an image found, by bringing them to the highest score (see score and channel).
template <class T>
void finish(const Task<T>& t, int64_t heads, Sum<T>* z, Sum<T>* best, Sum<T>* inverse) {
  const int64_t group = t.channels / heads, row = 2 * heads + t.channels;
  for (int64_t b = 0; b < t.batch; ++b) {
    const double* items = t.partial + b * t.slices * row;
    for (int64_t g = 0; g < heads; ++g) {
      double highest = items[g], sum = 0;
      for (int64_t s = 1; s < t.slices; ++s) {
        const double other = items[s * row + g];
        if (other > highest || other != other) highest = other;
      }
      std::vector<double> weight(t.slices, 1.0);
      for (int64_t s = 0; s < t.slices; ++s) {
        if (t.slices > 1 && items[s * row + g] != highest) weight[s] = std::exp(items[s * row + g] - highest);
        sum += items[s * row + heads + g] * weight[s];
      }
      best[b * heads + g] = Sum<T>(highest);
      inverse[b * heads + g] = Sum<T>(1 / sum);
      for (int64_t c = g * group; c < (g + 1) * group; ++c) {
        double context = 0;
        for (int64_t s = 0; s < t.slices; ++s) context += items[s * row + 2 * heads + c] * weight[s];
        z[b * t.channels + c] = Sum<T>(context / sum);
      }
    }
  }
}

// The scorer is a weight (G, C) for kPixel, (C) for kChannel, and scores (B, G, H, W) for kScores.
template <class T>
void read_scorer(Task<T>& t, const Tensor& x, const Optional& scorer, int64_t kind, double scale) {
  STD_TORCH_CHECK(scorer.has_value(), "the scorer is missing");
  t.scale = Sum<T>(scale);
  t.heads = kind == kPixel ? scorer->size(0) : kind == kScores ? scorer->size(1) : 1;
  STD_TORCH_CHECK(t.heads > 0 && t.channels % t.heads == 0, "the heads must divide the channels");
  if (kind == kScores) t.scores = per_channel<Sum<T>>(*scorer, x, t.batch * t.heads * t.pixels);
  else t.weight = per_channel<Sum<T>>(*scorer, x, t.heads * t.channels);
}

// z (B, K, C), what the backward needs, and the two tokens if the operation is a joint one.
std::tuple<Tensor, Tensor, Tensor, Tensor> squeeze(Tensor x, Optional scorer, int64_t kind, double scale, bool joint) {
  const int64_t batch = x.size(0), channels = x.size(1);
  Tensor z, saved;
  with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    using A = Sum<T>;
    Task<T> t = task_for<T>(x);
    const int64_t plane = batch * channels;
    if (kind < kPixel) {
      const int64_t count = bool(kind & kMean) + bool(kind & kVariance) + bool(kind & kMax);
      // The kernels write (K, B, C); with one image or one statistic that is (B, K, C) already.
      Tensor planes = dense(x, {count, batch, channels});
      saved = dense(x, {kind & kMax ? batch : 0, channels});
      A* to = static_cast<A*>(planes.mutable_data_ptr());
      if (kind & kMean) t.mean = to, to += plane;
      if (kind & kVariance) t.variance = to, to += plane;
      if (kind & kMax) t.peak = to, t.ties = static_cast<A*>(saved.mutable_data_ptr());
      run_channels(kernels<T>().moments, t);
      z = count == 1 ? torch::stable::view(planes, {batch, 1, channels})
                     : torch::stable::contiguous(torch::stable::transpose(planes, 0, 1));
      return;
    }
    read_scorer(t, x, scorer, kind, scale);
    const int64_t heads = kind == kChannel ? channels : t.heads, workers = workers_for(t);
    std::vector<A> scaled;
    if (t.weight) {
      scaled.assign(t.weight, t.weight + t.heads * channels);
      for (A& w : scaled) w *= t.scale;
      t.weight = scaled.data();
    }
    t.slices = slices_for(t, workers, kind == kChannel ? channels / 16 : t.pixels / 16);
    std::vector<double> partial(batch * (kind == kChannel ? 1 : t.slices) * (2 * heads + channels));
    t.partial = partial.data();
    run(kind == kChannel ? kernels<T>().channel : kernels<T>().score, t, workers);
    if (kind == kChannel) t.slices = 1;
    z = dense(x, {batch, 1, channels});
    saved = dense(x, {2, batch, heads});
    A* best = static_cast<A*>(saved.mutable_data_ptr());
    finish(t, heads, static_cast<A*>(z.mutable_data_ptr()), best, best + batch * heads);
  });
  const auto sizes = x.sizes();
  const std::vector<int64_t> shape(sizes.begin(), sizes.end());
  Tensor token_x = joint ? token(x, x.scalar_type(), shape) : dense(x, {0});
  Tensor token_a = joint ? token(x, z.scalar_type(), {batch, channels}) : dense(x, {0});
  return {z, saved, token_x, token_a};
}

// dx, and the gradient of the scorer. dy and factor come from rescale, if the operation is a joint one.
std::tuple<Tensor, Tensor> squeeze_backward(Tensor x, Optional scorer, Tensor z, Tensor saved, Tensor dz, Optional dy,
                                            Optional factor, int64_t kind, double scale, bool need_dx) {
  need_dx = need_dx || kind == kChannel;  // whose kernel finds both gradients or none
  Tensor dx = need_dx ? new_map(x) : dense(x, {0}), dscorer;
  with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    using A = Sum<T>;
    Task<T> t = task_for<T>(x);
    const int64_t plane = t.batch * t.channels;
    if (need_dx) t.out = static_cast<T*>(dx.mutable_data_ptr());
    if (need_dx && dy) {
      t.dy = like(t, x, *dy);
      t.factor = per_channel<A>(*factor, x, plane);
    }
    if (kind < kPixel) {
      dscorer = dense(x, {0});
      if (!need_dx) return;
      const int64_t count = z.size(1), pixels = t.pixels;
      const A *values = per_channel<A>(z, x, count * plane), *gradient = per_channel<A>(dz, x, count * plane);
      std::vector<A> offset(plane), slope(kind & kVariance ? plane : 0), share(kind & kMax ? plane : 0), peak(share);
      for (int64_t b = 0; b < t.batch; ++b)
        for (int64_t c = 0; c < t.channels; ++c) {
          const int64_t i = b * t.channels + c;
          int64_t row = b * count * t.channels + c;
          const int64_t first = row;
          if (kind & kMean) offset[i] = gradient[row] / A(pixels), row += t.channels;
          if (kind & kVariance) {
            slope[i] = 2 * gradient[row] / A(pixels), row += t.channels;
            offset[i] -= slope[i] * values[first];
          }
          if (kind & kMax) share[i] = gradient[row] / data<A>(saved)[i], peak[i] = values[row];
        }
      t.offset = offset.data();
      t.slope = slope.empty() ? nullptr : slope.data();
      t.peak = peak.empty() ? nullptr : peak.data();
      t.share = share.data();
      return run_channels(kernels<T>().moments_backward, t);
    }
    read_scorer(t, x, scorer, kind, scale);
    const int64_t heads = kind == kChannel ? t.channels : t.heads, workers = workers_for(t);
    t.z = per_channel<A>(z, x, plane);
    t.dz = per_channel<A>(dz, x, plane);
    t.best = per_channel<A>(saved, x, 2 * t.batch * heads);
    t.inverse = t.best + t.batch * heads;
    t.slices = slices_for(t, workers, kind == kChannel ? t.channels / 16 : t.pixels / 16);
    std::vector<A> scaled;
    std::vector<double> dweight;
    dscorer = torch::stable::empty_like(*scorer);
    if (t.weight) {
      const int64_t count = t.heads * t.channels;
      scaled.assign(t.weight, t.weight + count);
      for (A& w : scaled) w *= t.scale;
      t.weight = scaled.data();
      dweight.resize(workers * count);
      t.dweight = dweight.data();
    } else {
      t.dscores = static_cast<A*>(dscorer.mutable_data_ptr());
    }
    run(kind == kChannel ? kernels<T>().channel_backward : kernels<T>().score_backward, t, workers);
    const int64_t count = t.heads * t.channels;
    for (int64_t i = 0; t.weight && i < count; ++i) {
      double sum = 0;
      for (int64_t w = 0; w < workers; ++w) sum += dweight[w * count + i];
      static_cast<A*>(dscorer.mutable_data_ptr())[i] = A(sum * scale);
    }
  });
  return {dx, dscorer};
}

// x * factor or x + factor, per channel. The tokens only tie this operation to its squeeze in autograd.
Tensor rescale(Tensor x, Tensor factor, Optional, Optional, bool adds) {
  Tensor y = new_map(x);
  with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    Task<T> t = task_for<T>(x);
    t.factor = per_channel<Sum<T>>(factor, x, t.batch * t.channels);
    t.out = static_cast<T*>(y.mutable_data_ptr());
    run_channels(adds ? kernels<T>().shift : kernels<T>().scale, t);
  });
  return y;
}

// The gradient of the factor: the sum of dy * x over the pixels, or of dy.
Tensor rescale_backward(Tensor dy, Tensor x, bool adds) {
  Tensor result = dense(x, {x.size(0), x.size(1)});
  with_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    Task<T> t = task_for<T>(x);
    t.dy = like(t, x, dy);
    t.values = static_cast<Sum<T>*>(result.mutable_data_ptr());
    run_channels(adds ? kernels<T>().sum : kernels<T>().product, t);
  });
  return result;
}

}  // namespace
}  // namespace saam

extern "C" __attribute__((visibility("default"))) const char* saam_native_variant() { return saam::variant(); }

STABLE_TORCH_LIBRARY_IMPL(saam, CPU, m) {
  m.impl("squeeze", TORCH_BOX(&saam::squeeze));
  m.impl("squeeze_backward", TORCH_BOX(&saam::squeeze_backward));
  m.impl("rescale", TORCH_BOX(&saam::rescale));
  m.impl("rescale_backward", TORCH_BOX(&saam::rescale_backward));
}
