// Mean, variance and maximum of each channel, and their gradients.
#pragma once

#include <bit>
#include <limits>

#include "rescale.h"

namespace saam::SAAM_VARIANT {
namespace {

struct Deviation : Operation<1, 1, 1, false> {
  template <class V> static V step(const V* in, const V* p, V* sum) {
    const V d = in[0] - p[0];
    return sum[0] += d * d;
  }
};

struct Peak : Operation<1, 0, 1, false> {
  static constexpr double start = -std::numeric_limits<double>::infinity();
  template <class V> static V join(V a, V b) { return larger(a, b); }
  template <class V> static V step(const V* in, const V*, V* sum) { return sum[0] = larger(sum[0], in[0]); }
};

struct Ties : Operation<1, 1, 1, false> {
  template <class V> static V step(const V* in, const V* p, V* sum) { return sum[0] += in[0] == p[0] ? V{} + 1 : V{}; }
};

// Running statistics of a channel, and how those of further pixels join them (Chan, Golub and LeVeque 1979).
struct Running { double pixels = 0, sum = 0, squares = 0, peak = Peak::start, ties = 0; };

template <class T> void moments(const Moments<T>& t, Items items) {
  using A = Sum<T>;
  const int64_t channels = t.shape.channels, count = std::popcount(uint64_t(t.kind));
  const double pixels = double(t.shape.pixels);
  std::vector<Running> running(channels);
  std::vector<double> sums(channels);
  std::vector<A> values(channels);
  each_channels(t.shape, items, [&](const Cell& item) {
    A* z = t.z + item.image * count * channels;
    if (t.kind == kMean) {
      std::fill_n(sums.begin(), item.channels, 0.0);
      sweep<Total, T>(t.shape, item, {{t.x}, {}, nullptr, sums.data()});
      for (int64_t c = 0; c < item.channels; ++c) z[item.channel + c] = A(sums[c] / pixels);
      return;
    }
    std::fill(running.begin(), running.end(), Running{});
    each_part(t.shape, item, [&](const Cell& cell) {
      Running* now = running.data() + cell.channel;
      A* value = values.data() + cell.channel;
      const double n = double(cell.pixels);
      auto collect = [&](auto op, auto... parameter) {
        using Op = decltype(op);
        std::fill_n(sums.begin(), cell.channels, Op::start);
        sweep<Op, T>(t.shape, cell, {{t.x}, {parameter...}, nullptr, sums.data()});
      };
      if (t.kind & kMean) {
        collect(Total{});
        for (int64_t c = 0; c < cell.channels; ++c) {
          const double mean = sums[c] / n, before = now[c].pixels, whole = before + n;
          const double delta = before ? mean - now[c].sum / before : 0;
          value[c] = A(mean);
          now[c].squares += delta * delta * before * n / whole;
          now[c].sum += sums[c];
          now[c].pixels = whole;
        }
      }
      if (t.kind & kVariance) {
        collect(Deviation{}, values.data());
        for (int64_t c = 0; c < cell.channels; ++c) now[c].squares += sums[c];
      }
      if (t.kind & kMax) {
        collect(Peak{});
        for (int64_t c = 0; c < cell.channels; ++c) {
          value[c] = A(sums[c]);
          const double peak = larger(now[c].peak, sums[c]);
          if (now[c].peak != peak) now[c].ties = 0;
          now[c].peak = peak;
        }
        collect(Ties{}, values.data());
        for (int64_t c = 0; c < cell.channels; ++c)
          if (double(value[c]) == now[c].peak) now[c].ties += sums[c];
      }
    });
    for (int64_t c = item.channel; c < item.channel + item.channels; ++c) {
      A* to = z + c;
      if (t.kind & kMean) *to = A(running[c].sum / pixels), to += channels;
      if (t.kind & kVariance) *to = A(running[c].squares / pixels), to += channels;
      if (t.kind & kMax) *to = A(running[c].peak), t.ties[item.image * channels + c] = A(running[c].ties);
    }
  });
}

// Of is what dx depends on x by: kVariance, kMax, or kMean for not at all.
template <bool Joint, Kind Of, int X = Of != kMean>
struct MomentsGradient : Operation<Joint + X, 1 + Joint + X + (Of == kMax), 0, true> {
  template <class V> static V step(const V* in, const V* p, V*) {
    V y = p[0];
    if constexpr (Joint) y += in[0] * p[1];
    if constexpr (Of == kVariance) y += in[Joint] * p[1 + Joint];
    if constexpr (Of == kMax) y += in[Joint] == p[2 + Joint] ? p[1 + Joint] : V{};
    return y;
  }
};

template <bool Joint, Kind Of, class T> void moments_backward_of(const MomentsBackward<T>& t, Items items) {
  using Op = MomentsGradient<Joint, Of>;
  const int64_t channels = t.shape.channels, count = std::popcount(uint64_t(t.kind));
  each_channels(t.shape, items, [&](const Cell& cell) {
    Operands<Op, T> o{{}, {}, t.dx};
    const int64_t row = cell.image * channels;
    o.parameter[0] = t.offset + row;
    if constexpr (Joint) o.in[0] = t.direct->dy, o.parameter[1] = t.direct->factor + row;
    if constexpr (Of != kMean) o.in[Joint] = t.x, o.parameter[1 + Joint] = t.slope + row;
    if constexpr (Of == kMax) o.parameter[2 + Joint] = t.z + (cell.image * count + count - 1) * channels;
    sweep<Op, T>(t.shape, cell, o);
  });
}

template <class T> void moments_backward(const MomentsBackward<T>& t, Items items) {
  auto run = [&]<bool Joint>(std::bool_constant<Joint>) {
    if (t.kind & kVariance) moments_backward_of<Joint, kVariance>(t, items);
    else if (t.kind & kMax) moments_backward_of<Joint, kMax>(t, items);
    else moments_backward_of<Joint, kMean>(t, items);
  };
  t.direct ? run(std::true_type{}) : run(std::false_type{});
}

}  // namespace
}  // namespace saam::SAAM_VARIANT
