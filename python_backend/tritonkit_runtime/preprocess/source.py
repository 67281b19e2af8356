"""The kernel's source: CUDA for NVRTC, and plain C++ once a few names are defined: so its maths are tested.

Pixels come out as OpenCV's own code makes them, to the bit: its fixed-point weights for `linear`, its tables of
floats for `area`. What comes after `resize` is a function of one byte and its channel: it is looked up in a table
that the steps themselves have filled. Compile without fused multiply-add, which would round otherwise.

Defined from outside: HEIGHT, WIDTH, CHANNELS; METHOD (0 nearest, 1 linear, 2 area); PLANAR (1: channels first);
VALUE, an unsigned type as wide as what the engine takes; TURNED (1: the table says how far it is from pixel to pixel,
which images need that lie there turned, or with gaps between their rows).
"""

from __future__ import annotations

NAME = "preprocess"
METHODS = {"nearest": 0, "linear": 1, "area": 2}
# Columns and rows of pixels that a block of threads makes; blocks count images, then rows, then columns.
BLOCK = (32, 8)

SOURCE = r"""
typedef unsigned char byte;
typedef unsigned long long offset;
typedef long long distance;

#ifndef TURNED
#define TURNED 0
#endif

// One image of the table; without pixels it is padding, and its row becomes zeros.
struct Image {
    const byte* pixels;
    int height, width;
    double scale_y, scale_x;  // source pixels a pixel that is made
#if TURNED
    int row, column;  // bytes to the pixel below and to the one beside: less than nothing where it is turned
#endif
};

__device__ inline distance along_row(const Image& image, int x) {
#if TURNED
    return (distance)x * image.column;
#else
    return x * CHANNELS;
#endif
}

__device__ inline const byte* pixel_at(const Image& image, int y, int x) {
#if TURNED
    return image.pixels + (distance)y * image.row + along_row(image, x);
#else
    return image.pixels + ((offset)y * image.width + x) * CHANNELS;
#endif
}

// Two neighbours, and how much of each: parts of 2048, as OpenCV counts them.
struct Pair {
    int first, second, of_first, of_second;
};

__device__ inline int limited(int value, int most) {
    return value < 0 ? 0 : value > most ? most : value;
}

__device__ inline Pair neighbours(int at, int size, int made, double scale, bool within, bool enlarged_area) {
    int first;
    float part;
    if (enlarged_area) {
        first = (int)floor(at * scale);
        part = (float)((at + 1) - (first + 1) * ((double)made / size));
        part = part <= 0.f ? 0.f : part - floorf(part);
    } else {
        float position = (float)((at + 0.5) * scale - 0.5);
        first = (int)floorf(position);
        part = position - (float)first;
    }
    // Along a row the weights end at the border; across rows OpenCV takes the border's row twice.
    if (within && first < 0) {
        first = 0;
        part = 0.f;
    }
    if (within && first >= size - 1) {
        first = size - 1;
        part = 0.f;
    }
    Pair pair;
    pair.first = limited(first, size - 1);
    pair.second = limited(first + 1, size - 1);
    pair.of_first = __float2int_rn((1.f - part) * 2048.f);
    pair.of_second = __float2int_rn(part * 2048.f);
    return pair;
}

__device__ inline void linear(const Image& image, int y, int x, bool enlarged_area, byte* found) {
    Pair down = neighbours(y, image.height, HEIGHT, image.scale_y, false, enlarged_area);
    Pair along = neighbours(x, image.width, WIDTH, image.scale_x, true, enlarged_area);
    const byte* upper = pixel_at(image, down.first, 0);
    const byte* lower = pixel_at(image, down.second, 0);
    for (int c = 0; c < CHANNELS; ++c) {
        distance left = along_row(image, along.first) + c, right = along_row(image, along.second) + c;
        int above = upper[left] * along.of_first + upper[right] * along.of_second;
        int below = lower[left] * along.of_first + lower[right] * along.of_second;
        int sum = ((down.of_first * (above >> 4)) >> 16) + ((down.of_second * (below >> 4)) >> 16);
        found[c] = (byte)((sum + 2) >> 2);
    }
}

__device__ inline void nearest(const Image& image, int y, int x, byte* found) {
    int row = limited((int)floor(y * image.scale_y), image.height - 1);
    int column = limited((int)floor(x * image.scale_x), image.width - 1);
    const byte* pixel = pixel_at(image, row, column);
    for (int c = 0; c < CHANNELS; ++c) found[c] = pixel[c];
}

// Source pixels first to last - 1 count whole, the one before them and `last` in part or not at all.
struct Span {
    int first, last;
    float before, whole, after;
};

__device__ inline Span covered(int at, int size, double scale) {
    double from = at * scale, to = from + scale, cell = fmin(scale, size - from);
    int first = (int)ceil(from), last = (int)floor(to);
    if (last > size - 1) last = size - 1;
    if (first > last) first = last;
    Span span;
    span.first = first;
    span.last = last;
    span.before = first - from > 1e-3 ? (float)((first - from) / cell) : 0.f;
    span.whole = (float)(1.0 / cell);
    span.after = to - last > 1e-3 ? (float)(fmin(fmin(to - last, 1.), cell) / cell) : 0.f;
    return span;
}

__device__ inline float share(const Span& span, int at) {
    return at < span.first ? span.before : at < span.last ? span.whole : span.after;
}

__device__ inline void averaged(const Image& image, int y, int x, byte* found) {
    Span down = covered(y, image.height, image.scale_y), along = covered(x, image.width, image.scale_x);
    float sums[CHANNELS];
    for (int c = 0; c < CHANNELS; ++c) sums[c] = 0.f;
    for (int row = down.first - 1; row <= down.last; ++row) {
        float of_row = share(down, row);
        if (of_row == 0.f) continue;
        const byte* pixels = pixel_at(image, row, 0);
        float in_row[CHANNELS];
        for (int c = 0; c < CHANNELS; ++c) in_row[c] = 0.f;
        for (int column = along.first - 1; column <= along.last; ++column) {
            float of_pixel = share(along, column);
            if (of_pixel == 0.f) continue;
            for (int c = 0; c < CHANNELS; ++c) in_row[c] += pixels[along_row(image, column) + c] * of_pixel;
        }
        for (int c = 0; c < CHANNELS; ++c) sums[c] += of_row * in_row[c];
    }
    for (int c = 0; c < CHANNELS; ++c) found[c] = (byte)limited(__float2int_rn(sums[c]), 255);
}

__device__ inline void of_whole_blocks(const Image& image, int y, int x, int rows, int columns, byte* found) {
    for (int c = 0; c < CHANNELS; ++c) {
        int sum = 0;
        for (int row = 0; row < rows; ++row) {
            const byte* pixels = pixel_at(image, y * rows + row, x * columns) + c;
            for (int column = 0; column < columns; ++column) sum += pixels[along_row(image, column)];
        }
        int mean = __float2int_rn(sum * (1.f / (rows * columns)));
        found[c] = (byte)(rows == 2 && columns == 2 ? (sum + 2) >> 2 : limited(mean, 255));
    }
}

__device__ inline void area(const Image& image, int y, int x, byte* found) {
    int rows = __double2int_rn(image.scale_y), columns = __double2int_rn(image.scale_x);
    const double nothing = 2.220446049250313e-16;  // DBL_EPSILON
    bool whole = fabs(image.scale_y - rows) < nothing && fabs(image.scale_x - columns) < nothing;
    if (image.scale_y < 1. || image.scale_x < 1.) linear(image, y, x, true, found);
    else if (whole) of_whole_blocks(image, y, x, rows, columns, found);
    else averaged(image, y, x, found);
}

extern "C" __global__ void __launch_bounds__(256)
preprocess(const Image* __restrict__ images, const VALUE* __restrict__ table, VALUE* __restrict__ made) {
    int x = blockIdx.z * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= WIDTH || y >= HEIGHT) return;
    Image image = images[blockIdx.x];
    byte found[CHANNELS];
    if (image.pixels) {
        if (METHOD == 0) nearest(image, y, x, found);
        else if (METHOD == 1) linear(image, y, x, false, found);
        else area(image, y, x, found);
    }
    VALUE* item = made + (offset)blockIdx.x * HEIGHT * WIDTH * CHANNELS;
    for (int c = 0; c < CHANNELS; ++c) {
        offset place = PLANAR ? ((offset)c * HEIGHT + y) * WIDTH + x : ((offset)y * WIDTH + x) * CHANNELS + c;
        item[place] = image.pixels ? table[found[c] * CHANNELS + c] : (VALUE)0;
    }
}
"""
