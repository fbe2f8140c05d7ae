#include "load.h"

uint32_t histogram_at(const struct histogram *h, double q)
{
    uint64_t wanted = (uint64_t)((double)h->count * q), seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen <= wanted || h->bucket[i] == 0) continue;
        uint32_t edge = i < 64 ? i : (uint32_t)(((64u + i % 64 + 1) << (i / 64 - 1)) - 1);
        return edge < h->max ? edge : h->max;
    }
    return h->max;
}
