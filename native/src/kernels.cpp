// All kernels. This file is compiled once for each variant, with its instruction set and its name in SAAM_VARIANT.
//
// Sums run in the vectors' type over a short stretch of pixels, and in double over the stretches, so that large maps
// lose no accuracy. Passes that follow another pass over the same maps walk the images backwards, to find the last ones
// still in the cache.
#include "channel_pool.h"
#include "moments.h"
#include "rescale.h"
#include "score_pool.h"

namespace saam::SAAM_VARIANT {

template <class T> const Kernels<T>& kernels() {
  static constexpr Kernels<T> table{rescale<T>,      rescale_backward<T>,      moments<T>,    moments_backward<T>,
                                    channel_pool<T>, channel_pool_backward<T>, score_pool<T>, score_pool_backward<T>};
  return table;
}

template const Kernels<float>& kernels();
template const Kernels<double>& kernels();
template const Kernels<BFloat16>& kernels();
template const Kernels<Half>& kernels();

}  // namespace saam::SAAM_VARIANT
