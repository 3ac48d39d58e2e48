// A value for each channel meets its map, and the gradient of that value.
#pragma once

#include "sweep.h"

namespace saam::SAAM_VARIANT {
namespace {

struct Scale : Operation<1, 1, 0, true> {
  template <class V> static V step(const V* in, const V* p, V*) { return in[0] * p[0]; }
};

struct Shift : Operation<1, 1, 0, true> {
  template <class V> static V step(const V* in, const V* p, V*) { return in[0] + p[0]; }
};

template <class Op, class T> void rescale_by(const Rescale<T>& t, Items items) {
  each_channels(t.shape, items, [&](const Cell& cell) {
    sweep<Op, T>(t.shape, cell, {{t.x}, {t.factor + cell.image * t.shape.channels}, t.y});
  });
}

template <class T> void rescale(const Rescale<T>& t, Items items) {
  t.adds ? rescale_by<Shift>(t, items) : rescale_by<Scale>(t, items);
}

struct Total : Operation<1, 0, 1, false> {
  template <class V> static V step(const V* in, const V*, V* sum) { return sum[0] += in[0]; }
};

struct Product : Operation<2, 0, 1, false> {
  template <class V> static V step(const V* in, const V*, V* sum) { return sum[0] += in[0] * in[1]; }
};

template <class T> void rescale_backward(const RescaleBackward<T>& t, Items items) {
  std::vector<double> sums(t.shape.channels);
  each_channels(t.shape, items, [&](const Cell& cell) {
    std::fill_n(sums.begin(), cell.channels, 0.0);
    if (t.adds) sweep<Total, T>(t.shape, cell, {{t.dy}, {}, nullptr, sums.data()});
    else sweep<Product, T>(t.shape, cell, {{t.dy, t.x}, {}, nullptr, sums.data()});
    std::copy_n(sums.begin(), cell.channels, t.dfactor + cell.image * t.shape.channels + cell.channel);
  });
}

}  // namespace
}  // namespace saam::SAAM_VARIANT
