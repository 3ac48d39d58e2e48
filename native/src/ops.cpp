// The operations saam::squeeze, saam::rescale and their backwards on CPU: for each kind of squeeze, what its kernels
// take and what is left to do on small tensors. Their schemas, shapes and autograd are in Python
// (saam.functional.fused.operations), which defines them for all devices.
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "host.h"

namespace saam {
namespace {

const char* variant() {
  static const char* name = [] {
    const char* wish = std::getenv("SAAM_NATIVE_VARIANT");
    [[maybe_unused]] auto allowed = [&](const char* candidate) {
      return !wish || !*wish || std::strcmp(wish, candidate) == 0;
    };
#ifdef SAAM_X86
    if (allowed("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
      return "avx512";
    if (allowed("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "avx2";
#endif
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

template <class T> std::optional<Direct<T>> direct_part(const Tensor& x, const Optional& dy, const Optional& factor) {
  if (!dy) return {};
  return Direct<T>{matching<T>(x, *dy), values<Sum<T>>(*factor, x.size(0) * x.size(1))};
}

// ---- Statistics ------------------------------------------------------------------------------------------------

template <class T> std::pair<Tensor, Tensor> squeeze_moments(const Tensor& x, int64_t kind) {
  using A = Sum<T>;
  const Shape shape = shape_of(x, &Shape::channels);
  Tensor z = dense(kDtype<A>, {shape.batch, std::popcount(uint64_t(kind)), shape.channels});
  Tensor ties = dense(kDtype<A>, {kind & kMax ? shape.batch : 0, shape.channels});
  run(kernels<T>().moments, {shape, kind, data<T>(x), writable<A>(z), writable<A>(ties)});
  return {z, ties};
}

template <class T>
void moments_backward(const Tensor& x, const Tensor& z, const Tensor& ties, const Tensor& dz,
                      std::optional<Direct<T>> direct, int64_t kind, const Tensor& dx) {
  using A = Sum<T>;
  const Shape shape = shape_of(x, &Shape::channels);
  const int64_t channels = shape.channels, plane = shape.batch * channels, count = z.size(1);
  const A *statistics = values<A>(z, count * plane), *gradients = values<A>(dz, count * plane);
  const A *tied = data<A>(ties), pixels = A(shape.pixels);
  std::vector<A> offset(plane), slope(kind == kMean ? 0 : plane);
  for (int64_t image = 0, i = 0; image < shape.batch; ++image)
    for (int64_t c = 0; c < channels; ++c, ++i) {
      const int64_t first = image * count * channels + c, last = first + (count - 1) * channels;
      if (kind & kMean) offset[i] = gradients[first] / pixels;
      if (kind & kVariance) {
        slope[i] = 2 * gradients[last] / pixels;
        offset[i] -= slope[i] * statistics[first];
      }
      if (kind & kMax) slope[i] = gradients[last] / tied[i];
    }
  run(kernels<T>().moments_backward,
      {shape, kind, data<T>(x), statistics, offset.data(), slope.data(), direct, writable<T>(dx)});
}

// ---- Score pooling: every channel scores itself, or heads score the pixels -------------------------------------

struct PartialSums {
  std::vector<double> best, sum, context;

  PartialSums(int64_t rows, int64_t heads, int64_t channels)
      : best(rows * heads, -std::numeric_limits<double>::infinity()), sum(rows * heads), context(rows * channels) {}
  Partial partial() { return {best.data(), sum.data(), context.data()}; }
};

// Joins the partial sums of each image, `slices` of them, by bringing them to the highest score: z (B, 1, C), and the
// highest scores and 1 / sum exp (2, B, G).
template <class A>
std::pair<Tensor, Tensor> join(const PartialSums& part, const Shape& shape, int64_t slices, int64_t heads) {
  const int64_t channels = shape.channels, group = channels / heads;
  Tensor z = dense(kDtype<A>, {shape.batch, 1, channels}), saved = dense(kDtype<A>, {2, shape.batch, heads});
  A *to = writable<A>(z), *best = writable<A>(saved), *inverse = best + shape.batch * heads;
  std::vector<double> weight(slices);
  for (int64_t first = 0; first < shape.batch * slices; first += slices)  // the slices of an image
    for (int64_t g = 0; g < heads; ++g) {
      double highest = part.best[first * heads + g], sum = 0;
      for (int64_t s = first + 1; s < first + slices; ++s) {
        const double other = part.best[s * heads + g];
        if (other > highest || other != other) highest = other;
      }
      for (int64_t s = 0; s < slices; ++s) {
        const double own = part.best[(first + s) * heads + g];
        weight[s] = slices == 1 || own == highest ? 1 : std::exp(own - highest);
        sum += part.sum[(first + s) * heads + g] * weight[s];
      }
      *best++ = A(highest);
      *inverse++ = A(1 / sum);
      for (int64_t c = g * group; c < (g + 1) * group; ++c) {
        double context = 0;
        for (int64_t s = 0; s < slices; ++s) context += part.context[(first + s) * channels + c] * weight[s];
        *to++ = A(context / sum);
      }
    }
  return {z, saved};
}

template <class A> std::vector<A> scaled(const Tensor& weight, int64_t count, double scale) {
  const A* from = values<A>(weight, count);
  std::vector<A> result(from, from + count);
  for (A& w : result) w *= A(scale);
  return result;
}

// The gradient of a weight, from what the workers found for the scaled one.
template <class A> Tensor add_up(const std::vector<double>& dweight, const Tensor& weight, double scale) {
  Tensor result = dense(kDtype<A>, weight.sizes());
  A* to = writable<A>(result);
  const int64_t count = weight.numel();
  for (int64_t i = 0; i < count; ++i) {
    double sum = 0;
    for (size_t at = i; at < dweight.size(); at += count) sum += dweight[at];
    to[i] = A(sum * scale);
  }
  return result;
}

template <class T> std::pair<Tensor, Tensor> squeeze_channel(const Tensor& x, const Tensor& scorer, double scale) {
  using A = Sum<T>;
  const Shape shape = shape_of(x, &Shape::channels);
  const std::vector<A> weight = scaled<A>(scorer, shape.channels, scale);
  PartialSums sums(shape.batch, shape.channels, shape.channels);
  run(kernels<T>().channel_pool, {shape, data<T>(x), weight.data(), sums.partial()});
  return join<A>(sums, shape, 1, shape.channels);
}

template <class T>
Tensor channel_backward(const Tensor& x, const Tensor& scorer, const Tensor& z, const Tensor& saved, const Tensor& dz,
                        std::optional<Direct<T>> direct, double scale, const Tensor& dx) {
  using A = Sum<T>;
  const Shape shape = shape_of(x, &Shape::channels);
  const int64_t plane = shape.batch * shape.channels;
  const std::vector<A> weight = scaled<A>(scorer, shape.channels, scale);
  std::vector<double> dweight(shape.workers * shape.channels);
  const A* best = values<A>(saved, 2 * plane);
  run(kernels<T>().channel_pool_backward, {shape, data<T>(x), weight.data(), best, best + plane, values<A>(z, plane),
                                           values<A>(dz, plane), direct, writable<T>(dx), dweight.data()});
  return add_up<A>(dweight, scorer, scale);
}

// The scorer of the kernels; a weight is scaled once, into `memory`.
template <class A>
Scorer<A> read_scorer(const Tensor& scorer, const Shape& shape, int64_t kind, double scale, std::vector<A>& memory) {
  const bool given = kind == kScores;
  const int64_t heads = scorer.size(given ? 1 : 0);
  STD_TORCH_CHECK(heads > 0 && shape.channels % heads == 0, "the heads must divide the channels");
  if (given) return {true, heads, values<A>(scorer, shape.batch * heads * shape.pixels), A(scale)};
  memory = scaled<A>(scorer, heads * shape.channels, scale);
  return {false, heads, memory.data(), A(1)};
}

template <class T>
std::pair<Tensor, Tensor> squeeze_scores(const Tensor& x, const Tensor& scorer, int64_t kind, double scale) {
  using A = Sum<T>;
  const Shape shape = shape_of(x, &Shape::pixels);
  std::vector<A> weight;
  const Scorer<A> from = read_scorer(scorer, shape, kind, scale, weight);
  PartialSums sums(shape.batch * shape.slices, from.heads, shape.channels);
  run(kernels<T>().score_pool, {shape, data<T>(x), from, sums.partial()});
  return join<A>(sums, shape, shape.slices, from.heads);
}

template <class T>
Tensor scores_backward(const Tensor& x, const Tensor& scorer, const Tensor& z, const Tensor& saved, const Tensor& dz,
                       std::optional<Direct<T>> direct, int64_t kind, double scale, const Tensor* dx) {
  using A = Sum<T>;
  const Shape shape = shape_of(x, &Shape::pixels);
  std::vector<A> weight;
  const Scorer<A> from = read_scorer(scorer, shape, kind, scale, weight);
  const int64_t plane = shape.batch * shape.channels, rows = shape.batch * from.heads;
  Tensor dscores = dense(kDtype<A>, from.given ? scorer.sizes() : Sizes{0});
  std::vector<double> dweight(shape.workers * weight.size());
  const A* best = values<A>(saved, 2 * rows);
  run(kernels<T>().score_pool_backward,
      {shape, data<T>(x), from, best, best + rows, values<A>(z, plane), values<A>(dz, plane), direct,
       dx ? writable<T>(*dx) : nullptr, writable<A>(dscores), dweight.data()});
  return from.given ? dscores : add_up<A>(dweight, scorer, scale);
}

// ---- The operations --------------------------------------------------------------------------------------------

// z (B, K, C), what the backward needs, and the two tokens if the operation is a joint one.
std::tuple<Tensor, Tensor, Tensor, Tensor> squeeze(Tensor x, Optional scorer, int64_t kind, double scale, bool joint) {
  STD_TORCH_CHECK(kind < kPixel || scorer.has_value(), "the scorer is missing");
  return with_dtype(x, [&]<class T>(T) -> std::tuple<Tensor, Tensor, Tensor, Tensor> {
    const ScalarType dtype = kDtype<Sum<T>>;
    auto [z, saved] = kind < kPixel      ? squeeze_moments<T>(x, kind)
                      : kind == kChannel ? squeeze_channel<T>(x, *scorer, scale)
                                         : squeeze_scores<T>(x, *scorer, kind, scale);
    if (!joint) return {z, saved, dense(dtype, {0}), dense(dtype, {0})};
    return {z, saved, token(x.scalar_type(), x.sizes()), token(dtype, {x.sizes().data(), 2})};
  });
}

// dx, and the gradient of the scorer. dy and factor come from rescale, if the operation is a joint one.
std::tuple<Tensor, Tensor> squeeze_backward(Tensor x, Optional scorer, Tensor z, Tensor saved, Tensor dz, Optional dy,
                                            Optional factor, int64_t kind, double scale, bool need_dx) {
  STD_TORCH_CHECK(kind < kPixel || scorer.has_value(), "the scorer is missing");
  return with_dtype(x, [&]<class T>(T) -> std::tuple<Tensor, Tensor> {
    const ScalarType dtype = kDtype<Sum<T>>;
    const auto direct = direct_part<T>(x, dy, factor);
    need_dx = need_dx || kind == kChannel;  // whose kernel finds both gradients or none
    Tensor dx = need_dx ? new_map(x) : dense(dtype, {0});
    if (kind == kChannel) return {dx, channel_backward<T>(x, *scorer, z, saved, dz, direct, scale, dx)};
    if (scorer) return {dx, scores_backward<T>(x, *scorer, z, saved, dz, direct, kind, scale, need_dx ? &dx : nullptr)};
    if (need_dx) moments_backward<T>(x, z, saved, dz, direct, kind, dx);
    return {dx, dense(dtype, {0})};
  });
}

// x * factor or x + factor, per channel. The tokens only tie this operation to its squeeze in autograd.
Tensor rescale(Tensor x, Tensor factor, Optional, Optional, bool adds) {
  return with_dtype(x, [&]<class T>(T) {
    const Shape shape = shape_of(x, &Shape::channels);
    const auto* value = values<Sum<T>>(factor, shape.batch * shape.channels);
    Tensor y = new_map(x);
    run(kernels<T>().rescale, {shape, adds, data<T>(x), value, writable<T>(y)});
    return y;
  });
}

// The gradient of the factor: the sum of dy * x over the pixels, or of dy.
Tensor rescale_backward(Tensor dy, Tensor x, bool adds) {
  return with_dtype(x, [&]<class T>(T) {
    const Shape shape = shape_of(x, &Shape::channels);
    Tensor dfactor = dense(kDtype<Sum<T>>, {shape.batch, shape.channels});
    run(kernels<T>().rescale_backward, {shape, adds, data<T>(x), matching<T>(x, dy), writable<Sum<T>>(dfactor)});
    return dfactor;
  });
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
