// What each kernel takes, and the table of kernels that each variant (instruction set) has for each dtype.
#pragma once

#include <cstdint>
#include <optional>
#include <type_traits>

namespace saam {

struct BFloat16 { uint16_t bits; };
struct Half { uint16_t bits; };

// T is the type in memory, Sum<T> the type of all arithmetic: float for half types, else T itself.
template <class T> using Sum = std::conditional_t<sizeof(T) == 2, float, T>;

// Kinds of squeeze, as in saam.functional.fused.operations. Statistics are a set and their results come in this order.
enum Kind : int64_t { kMean = 1, kVariance = 2, kMax = 4, kPixel = 8, kChannel = 16, kScores = 32 };

// The maps of a call, (B, C, N) or, if interleaved, (B, N, C), and how the work on them is cut: into items, `slices` of
// the channels or of the pixels of each image, which are shared out among `workers`.
struct Shape {
  int64_t batch, channels, pixels;
  bool interleaved;
  int64_t slices, workers;
};

// The items [begin, end) of one worker.
struct Items { int64_t worker, begin, end; };

// y = x * factor or x + factor, with a factor for each channel (B, C).
template <class T, class A = Sum<T>> struct Rescale {
  Shape shape;
  bool adds;
  const T* x;
  const A* factor;
  T* y;
};

// dfactor = sum of x * dy, or of dy, over the pixels (B, C).
template <class T, class A = Sum<T>> struct RescaleBackward {
  Shape shape;
  bool adds;
  const T *x, *dy;
  A* dfactor;
};

// What a rescale after the squeeze adds to dx: factor * dy.
template <class T, class A = Sum<T>> struct Direct {
  const T* dy;
  const A* factor;
};

// z = the statistics of `kind` (B, K, C); with a maximum, also how many pixels share it (B, C).
template <class T, class A = Sum<T>> struct Moments {
  Shape shape;
  int64_t kind;
  const T* x;
  A *z, *ties;
};

// dx = factor * dy + offset, + slope * x (with a variance) or + slope * [x == maximum]; offset and slope are (B, C).
template <class T, class A = Sum<T>> struct MomentsBackward {
  Shape shape;
  int64_t kind;
  const T* x;
  const A *z, *offset, *slope;
  std::optional<Direct<T>> direct;
  T* dx;
};

// A softmax over some of the pixels, not yet normalised: the highest score and the sum of exp(score - best) of each
// head, the sum of exp(score - best) * x of each channel. They come as -infinity, 0 and 0.
struct Partial { double *best, *sum, *context; };

// Score pooling where every channel scores itself by weight (C). The partial sums are of whole images, (B, C).
template <class T, class A = Sum<T>> struct ChannelPool {
  Shape shape;
  const T* x;
  const A* weight;
  Partial partial;
};

// best and inverse = 1 / sum are those of the whole softmax, (B, C).
template <class T, class A = Sum<T>> struct ChannelPoolBackward {
  Shape shape;
  const T* x;
  const A *weight, *best, *inverse, *z, *dz;
  std::optional<Direct<T>> direct;
  T* dx;
  double* dweight;  // (workers, C)
};

// Where the scores of G heads come from: a weight (G, C) or, if given, (B, G, N) themselves, still to be scaled.
template <class A> struct Scorer {
  bool given;
  int64_t heads;
  const A* values;
  A scale;
};

// Score pooling where each head scores the pixels for C / G channels. The partial sums are of items, (items, G or C).
template <class T, class A = Sum<T>> struct ScorePool {
  Shape shape;
  const T* x;
  Scorer<A> scorer;
  Partial partial;
};

// best and inverse = 1 / sum are those of the whole softmax, (B, G).
template <class T, class A = Sum<T>> struct ScorePoolBackward {
  Shape shape;
  const T* x;
  Scorer<A> scorer;
  const A *best, *inverse, *z, *dz;
  std::optional<Direct<T>> direct;
  T* dx;            // null if not wanted
  A* dscores;       // (B, G, N), for given scores
  double* dweight;  // (workers, G, C), for a weight
};

template <class Arguments> using Kernel = void (*)(const Arguments&, Items);

template <class T> struct Kernels {
  Kernel<Rescale<T>> rescale;
  Kernel<RescaleBackward<T>> rescale_backward;
  Kernel<Moments<T>> moments;
  Kernel<MomentsBackward<T>> moments_backward;
  Kernel<ChannelPool<T>> channel_pool;
  Kernel<ChannelPoolBackward<T>> channel_pool_backward;
  Kernel<ScorePool<T>> score_pool;
  Kernel<ScorePoolBackward<T>> score_pool_backward;
};

namespace baseline { template <class T> const Kernels<T>& kernels(); }
namespace avx2 { template <class T> const Kernels<T>& kernels(); }
namespace avx512 { template <class T> const Kernels<T>& kernels(); }

}  // namespace saam
