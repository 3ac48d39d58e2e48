// Score pooling where every channel scores itself: s = weight * x, p = softmax(s), z = sum p x.
#pragma once

#include <cmath>

#include "moments.h"

namespace saam::SAAM_VARIANT {
namespace {

struct Highest : Peak {
  static constexpr int parameters = 1;
  template <class V> static V step(const V* in, const V* p, V* sum) { return sum[0] = larger(sum[0], in[0] * p[0]); }
};

struct Exponentials : Operation<1, 2, 2, false> {
  template <class V> static V step(const V* in, const V* p, V* sum) {
    const V e = exponential(in[0] * p[0] - p[1]);
    sum[0] += e;
    return sum[1] += e * in[0];
  }
};

// Stretches of pixels are joined by bringing both to one base ("online softmax", Milakov and Gimelshein 2018).
template <class T> void channel_pool(const ChannelPool<T>& t, Items items) {
  using A = Sum<T>;
  const int64_t channels = t.shape.channels;
  std::vector<double> sums(2 * channels);
  std::vector<A> base(channels);
  each_channels(t.shape, items, [&](const Cell& item) {
    const int64_t row = item.image * channels;
    double *best = t.partial.best + row, *sum = t.partial.sum + row, *context = t.partial.context + row;
    each_part(t.shape, item, [&](const Cell& cell) {
      std::fill_n(sums.begin(), cell.channels, Highest::start);
      sweep<Highest, T>(t.shape, cell, {{t.x}, {t.weight}, nullptr, sums.data()});
      for (int64_t i = 0; i < cell.channels; ++i) {
        const int64_t c = cell.channel + i;
        const double highest = larger(best[c], sums[i]), decay = std::exp(best[c] - base_of(highest));
        base[c] = A(base_of(highest));
        best[c] = highest;
        sum[c] *= decay;
        context[c] *= decay;
      }
      std::fill_n(sums.begin(), 2 * cell.channels, 0.0);
      sweep<Exponentials, T>(t.shape, cell, {{t.x}, {t.weight, base.data()}, nullptr, sums.data()});
      for (int64_t i = 0; i < cell.channels; ++i) {
        sum[cell.channel + i] += sums[i];
        context[cell.channel + i] += sums[cell.channels + i];
      }
    });
  });
}

// dx = factor * dy + p dz (1 + weight (x - z)), dweight = sum p dz (x - z)^2.
template <bool Joint> struct ChannelGradient : Operation<1 + Joint, 5 + Joint, 1, true> {
  template <class V> static V step(const V* in, const V* p, V* sum) {
    const V d = exponential(in[0] * p[0] - p[1]) * p[2] * p[3], centred = in[0] - p[4];
    sum[0] += d * centred * centred;
    const V y = d + p[0] * d * centred;
    if constexpr (Joint) return y + in[1] * p[5];
    return y;
  }
};

template <bool Joint, class T> void channel_pool_backward_as(const ChannelPoolBackward<T>& t, Items items) {
  using Op = ChannelGradient<Joint>;
  const int64_t channels = t.shape.channels;
  std::vector<double> sums(channels);
  each_channels(t.shape, items, [&](const Cell& cell) {
    const int64_t row = cell.image * channels;
    std::fill_n(sums.begin(), cell.channels, 0.0);
    Operands<Op, T> o{{t.x}, {t.weight, t.best + row, t.inverse + row, t.dz + row, t.z + row}, t.dx, sums.data()};
    if constexpr (Joint) o.in[1] = t.direct->dy, o.parameter[5] = t.direct->factor + row;
    sweep<Op, T>(t.shape, cell, o);
    for (int64_t c = 0; c < cell.channels; ++c) t.dweight[items.worker * channels + cell.channel + c] += sums[c];
  });
}

template <class T> void channel_pool_backward(const ChannelPoolBackward<T>& t, Items items) {
  t.direct ? channel_pool_backward_as<true>(t, items) : channel_pool_backward_as<false>(t, items);
}

}  // namespace
}  // namespace saam::SAAM_VARIANT
