// Score pooling by G heads: scores s for each pixel, p = softmax(s), z = sum p x over the pixels.
//
// A tile is all channels of some pixels, small enough for the last-level cache (smaller ones were slower: their rows
// are too short to be fetched ahead); it is read from memory once and used several times. As a matrix its rows are
// channels (planar) or pixels (interleaved), and the two products of matrix.h serve both layouts with their parts
// exchanged: the scores are one of them, the context is the other.
#pragma once

#include <cmath>
#include <vector>

#include "matrix.h"

namespace saam::SAAM_VARIANT {
namespace {

template <class T> struct Tile {
  const Shape& shape;
  int64_t image, pixel, pixels;

  int64_t start() const {
    return image * shape.channels * shape.pixels + pixel * (shape.interleaved ? shape.channels : 1);
  }

  // The channels [first, first + count) of this tile in a map.
  Matrix<T> of(const T* map, int64_t first, int64_t count) const {
    const int64_t at = start() + first * (shape.interleaved ? 1 : shape.pixels);
    const int64_t room = shape.batch * shape.channels * shape.pixels - at;
    return shape.interleaved ? Matrix<T>{map + at, pixels, count, shape.channels, room}
                             : Matrix<T>{map + at, count, pixels, shape.pixels, room};
  }
};

template <class T> int64_t tile_pixels(const Shape& shape) {
  constexpr int64_t kBytes = 2 * 1024 * 1024, kStep = 16;
  const int64_t most = shape.interleaved ? 256 : 1024;  // sums within a tile are not in double
  const int64_t fit = std::max<int64_t>(kBytes / (shape.channels * int64_t(sizeof(T))) / kStep, 1) * kStep;
  const int64_t parts = (shape.pixels + std::min(fit, most) - 1) / std::min(fit, most);
  return std::min<int64_t>(((shape.pixels + parts - 1) / parts + kStep - 1) / kStep * kStep, most);
}

// The tiles of an item: slice s of an image has the pixels from s * N / slices on.
template <class T, class F> void each_tile(const Shape& shape, int64_t item, int64_t pixels, F&& work) {
  const int64_t slice = item % shape.slices, end = shape.pixels * (slice + 1) / shape.slices;
  for (int64_t p = shape.pixels * slice / shape.slices; p < end; p += pixels)
    work(Tile<T>{shape, item / shape.slices, p, std::min(pixels, end - p)});
}

// The rows that the heads have in a tile, padded to whole vectors.
template <class A> struct HeadRows {
  int64_t stride;
  std::vector<A> values;

  HeadRows(int64_t heads, int64_t pixels) : stride(pixels), values(heads * pixels) {}
  A* operator[](int64_t g) { return values.data() + g * stride; }
  void clear() { std::fill(values.begin(), values.end(), A(0)); }
};

// out[pixel] += sum over the channels of vector[channel] * (x - centre[channel]), or of vector * x without a centre
template <class A> struct Projection {
  const A *vector, *centre;
  A* out;
};

// Takes all projections of a part of x while it is in the cache. Long sums over the rows of a planar tile are taken in
// two levels for accuracy; `block` has room for one row of it.
template <class A, class T>
void project(const Matrix<T>& m, bool interleaved, const std::vector<Projection<A>>& projections,
             std::vector<A>& block) {
  constexpr int64_t kRows = 64;
  for (int64_t r = 0; r < m.rows; r += kRows) {
    const Matrix<T> part = m.from(r, kRows);
    for (const Projection<A>& p : projections) {
      if (interleaved) {
        if (p.centre) add_dots<true>(part, p.vector, p.out + r, p.centre);
        else add_dots(part, p.vector, p.out + r);
        continue;
      }
      std::fill_n(block.begin(), m.columns, A(0));
      if (p.centre) add_rows<true>(part, p.vector + r, 1, block.data(), p.centre + r);
      else add_rows(part, p.vector + r, 1, block.data());
      for (int64_t k = 0; k < m.columns; ++k) p.out[k] += block[k];
    }
  }
}

// out[channel] += sum over the pixels of weights[pixel] * x
template <class T, class A> void pool(const Matrix<T>& m, bool interleaved, const A* weights, A* out) {
  if (interleaved) add_rows(m, weights, 1, out);
  else add_dots(m, weights, out);
}

// What gives the scores of all heads, if they come from a weight.
template <class A>
std::vector<Projection<A>> projections_to(HeadRows<A>& scores, const Scorer<A>& scorer, int64_t channels) {
  std::vector<Projection<A>> projections;
  for (int64_t g = 0; !scorer.given && g < scorer.heads; ++g)
    projections.push_back({scorer.values + g * channels, nullptr, scores[g]});
  return projections;
}

// Reads the scores that are given, and gives the pixels after the last one no weight.
template <class T, class A> void complete(HeadRows<A>& scores, const Scorer<A>& scorer, const Tile<T>& tile) {
  for (int64_t g = 0; g < scorer.heads; ++g) {
    if (scorer.given) {
      const A* from = scorer.values + (tile.image * scorer.heads + g) * tile.shape.pixels + tile.pixel;
      for (int64_t p = 0; p < tile.pixels; ++p) scores[g][p] = from[p] * scorer.scale;
    }
    std::fill(scores[g] + tile.pixels, scores[g] + scores.stride, -std::numeric_limits<A>::infinity());
  }
}

template <class T> void score_pool(const ScorePool<T>& t, Items items) {
  using A = Sum<T>;
  constexpr int L = kLanes<A>;
  using V = Vec<A, L>;
  const int64_t channels = t.shape.channels, heads = t.scorer.heads, group = channels / heads;
  const int64_t pixels = tile_pixels<T>(t.shape);
  HeadRows<A> e(heads, pixels);
  std::vector<A> context(channels + L), block(pixels);
  const auto projections = projections_to(e, t.scorer, channels);
  for (int64_t item = items.begin; item < items.end; ++item) {
    double *best = t.partial.best + item * heads, *sum = t.partial.sum + item * heads;
    double* z = t.partial.context + item * channels;
    each_tile<T>(t.shape, item, pixels, [&](const Tile<T>& tile) {
      e.clear();
      project(tile.of(t.x, 0, channels), t.shape.interleaved, projections, block);
      complete(e, t.scorer, tile);
      std::fill(context.begin(), context.end(), A(0));
      for (int64_t g = 0; g < heads; ++g) {
        V top = splat<V>(A(best[g])), whole{};
        for (int64_t p = 0; p < pixels; p += L) top = larger(top, load<L>(e[g] + p));
        const A highest = across<L>(top, [](auto a, auto b) { return larger(a, b); }), base = base_of(highest);
        for (int64_t p = 0; p < pixels; p += L) {
          const V value = exponential(load<L>(e[g] + p) - base);
          whole += value;
          store<L>(e[g] + p, value);
        }
        pool(tile.of(t.x, g * group, group), t.shape.interleaved, e[g], context.data() + g * group);
        const double decay = std::exp(best[g] - double(base));
        best[g] = highest;
        sum[g] = sum[g] * decay + double(total<L>(whole));
        for (int64_t c = g * group; c < (g + 1) * group; ++c) z[c] = z[c] * decay + double(context[c]);
      }
    });
  }
}

// out[k] = factor * dy[k] + u * v[k] + s * w[k]; the factor is one number or, if ByColumn, one for each k.
template <bool Joint, bool ByColumn, class T, class A>
SAAM_INLINE void write_row(T* out, Direct<T> direct, A u, const A* v, A s, const A* w, int64_t n) {
  constexpr int L = kLanes<A>;
  int64_t k = 0;
  for (; k + L <= n; k += L) {
    Vec<A, L> y = load<L>(v + k) * u + load<L>(w + k) * s;
    if constexpr (Joint && ByColumn) y += load<L>(direct.dy + k) * load<L>(direct.factor + k);
    if constexpr (Joint && !ByColumn) y += load<L>(direct.dy + k) * *direct.factor;
    store<L>(out + k, y);
  }
  for (; k < n; ++k) {
    A y = v[k] * u + w[k] * s;
    if constexpr (Joint) y += one(direct.dy + k) * direct.factor[ByColumn ? k : 0];
    store<1>(out + k, Vec<A, 1>{y});
  }
}

// dx = factor * dy + p dz + sum over the heads of weight ds
template <bool Joint, class T, class A>
void write_dx(const ScorePoolBackward<T>& t, const Tile<T>& tile, HeadRows<A>& p, HeadRows<A>& ds,
              std::vector<A>& row) {
  const int64_t channels = t.shape.channels, heads = t.scorer.heads, group = channels / heads;
  const A* dz = t.dz + tile.image * channels;
  const A* weight = t.scorer.given ? nullptr : t.scorer.values;
  const bool several = heads > 1 && weight;  // then the sum over the heads is taken in `row` first
  const A nothing = 0;
  auto direct = [&](int64_t at, int64_t c) -> Direct<T> {
    if constexpr (Joint) return {t.direct->dy + at, t.direct->factor + tile.image * channels + c};
    return {};
  };
  if (t.shape.interleaved) {
    for (int64_t i = 0; i < tile.pixels; ++i) {
      const int64_t at = tile.start() + i * channels;
      if (several) {
        std::fill(row.begin(), row.end(), A(0));
        add_rows(Matrix<A>{weight, heads, channels, channels, heads * channels}, ds[0] + i, ds.stride, row.data());
      }
      const A s = several ? A(1) : weight ? ds[0][i] : nothing;
      const A* w = several ? row.data() : weight ? weight : dz;
      for (int64_t g = 0; g < heads; ++g) {
        const int64_t c = g * group;
        write_row<Joint, true>(t.dx + at + c, direct(at + c, c), p[g][i], dz + c, s, w + c, group);
      }
    }
    return;
  }
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t at = tile.start() + c * t.shape.pixels;
    const A* v = p[c / group];
    if (several) {
      std::fill(row.begin(), row.end(), A(0));
      add_rows(Matrix<A>{ds[0], heads, tile.pixels, ds.stride, heads * ds.stride}, weight + c, channels, row.data());
    }
    const A s = several ? A(1) : weight ? weight[c] : nothing;
    const A* w = several ? row.data() : weight ? ds[0] : v;
    write_row<Joint, false>(t.dx + at, direct(at, c), dz[c], v, s, w, tile.pixels);
  }
}

// ds = p * (sum over the head's channels of dz (x - z)); dweight = sum of ds x. That a score has no part in its own
// average is in x - z: a pixel of weight one has exactly no gradient.
template <class T> void score_pool_backward(const ScorePoolBackward<T>& t, Items items) {
  using A = Sum<T>;
  constexpr int L = kLanes<A>;
  const int64_t channels = t.shape.channels, heads = t.scorer.heads, group = channels / heads;
  const int64_t pixels = tile_pixels<T>(t.shape), count = t.scorer.given ? 0 : heads * channels;
  HeadRows<A> p(heads, pixels), ds(heads, pixels);
  std::vector<A> row(std::max(pixels, channels + L)), block(pixels), dweight(count + L);
  const auto scoring = projections_to(p, t.scorer, channels);
  for (int64_t item = items.end - 1; item >= items.begin; --item) {
    const int64_t image = item / t.shape.slices;
    const A *dz = t.dz + image * channels, *z = t.z + image * channels;
    each_tile<T>(t.shape, item, pixels, [&](const Tile<T>& tile) {
      const Matrix<T> x = tile.of(t.x, 0, channels);
      p.clear();
      ds.clear();
      auto all = scoring;
      if (heads == 1) all.push_back({dz, z, ds[0]});  // takes all channels too: in one go
      project(x, t.shape.interleaved, all, block);
      complete(p, t.scorer, tile);
      for (int64_t g = 0; g < heads; ++g) {
        const int64_t c = g * group, head = image * heads + g;
        if (heads > 1) project(tile.of(t.x, c, group), t.shape.interleaved, {{dz + c, z + c, ds[g]}}, block);
        const A best = t.best[head], inverse = t.inverse[head];
        for (int64_t k = 0; k < pixels; k += L) {
          const Vec<A, L> weight = exponential(load<L>(p[g] + k) - best) * inverse;
          store<L>(p[g] + k, weight);
          store<L>(ds[g] + k, weight * load<L>(ds[g] + k));
        }
        if (t.scorer.given) {
          A* to = t.dscores + head * t.shape.pixels + tile.pixel;
          for (int64_t k = 0; k < tile.pixels; ++k) to[k] = ds[g][k] * t.scorer.scale;
        }
      }
      if (!t.scorer.given) {
        std::fill(dweight.begin(), dweight.end(), A(0));
        for (int64_t g = 0; g < heads; ++g) pool(x, t.shape.interleaved, ds[g], dweight.data() + g * channels);
        double* whole = t.dweight + items.worker * count;
        for (int64_t i = 0; i < count; ++i) whole[i] += double(dweight[i]);
      }
      if (t.dx) (t.direct ? write_dx<true, T, A> : write_dx<false, T, A>)(t, tile, p, ds, row);
    });
  }
}

}  // namespace
}  // namespace saam::SAAM_VARIANT
