/* One pass of stochastic gradient descent over region features, outside of Python's global lock. `regions.py` has the
   equations and checks what is given; the function here trusts its arguments, which are addresses of tensors that the caller
   keeps alive.

   A block of `BLOCK` positions of a review is one step: h of its positions, the logistic loss of their neighbours and of
   `NEGATIVES` drawn tokens, gradients, and updates of every row concerned. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A function in versions for AVX-512, AVX2 and any processor; the loader picks one. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default"))) static
#else
#define CLONES static
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define VECTOR _Pragma("GCC ivdep")
#else
#define VECTOR
#endif

enum { BLOCK = 32, NEGATIVES = 64, FOUR = 4, STEPS_PER_UNIT = 256, STEEPEST = 8 };

typedef struct {
    const int32_t *ids;
    ptrdiff_t features, half, context, frequent; /* tokens on each side; ids below `frequent` are no targets */
    float *weight, *bias, *out;                  /* E (V, R), b (R), O (V, R) */
    float *of_weight, *of_bias, *of_out;         /* sums of squared gradients: (V,), (1,), (V,) */
    const int32_t *drawn;                        /* tokens to draw from; a power of two of them */
    uint64_t drawn_mask, random;
    float rate, negatives; /* learning rate; drawn tokens that a neighbour weighs as much as */
    float sigmoid[2 * STEEPEST * STEPS_PER_UNIT + 1];
    float *inputs, *hidden, *of_hidden, *outputs, *of_outputs, *gradient; /* scratch */
    int32_t *targets;                                                     /* the token of each row of `outputs`, or -1 */
    double loss;
    int64_t pairs;
} Job;

static inline uint64_t next(uint64_t *state) /* xorshift64* */
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x * 0x2545F4914F6CDD1DULL;
}

static inline float sigmoid(const Job *job, float x)
{
    x = x > STEEPEST ? STEEPEST : x < -STEEPEST ? -STEEPEST : x;
    return job->sigmoid[(int)((x + STEEPEST) * STEPS_PER_UNIT)];
}

static inline __attribute__((always_inline)) float dot(const float *a, const float *b, ptrdiff_t n)
{
    float sum = 0;
    VECTOR for (ptrdiff_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* a += factor · x, b += factor · y */
static inline __attribute__((always_inline)) void add_both(
    float *restrict a, const float *restrict x, float *restrict b, const float *restrict y, float factor, ptrdiff_t n)
{
    VECTOR for (ptrdiff_t i = 0; i < n; i++) {
        a[i] += factor * x[i];
        b[i] += factor * y[i];
    }
}

static inline __attribute__((always_inline)) void add(float *restrict a, const float *restrict x, ptrdiff_t n)
{
    VECTOR for (ptrdiff_t i = 0; i < n; i++) a[i] += x[i];
}

/* AdaGrad with one sum a row: row −= rate / √sum · gradient. */
static inline __attribute__((always_inline)) void update(
    float *restrict row, float *sum, const float *restrict gradient, float rate, ptrdiff_t n)
{
    float squares = dot(gradient, gradient, n);
    if (squares == 0) return;
    *sum += squares / (float)n;
    float factor = rate / sqrtf(*sum + 1e-8f);
    VECTOR for (ptrdiff_t i = 0; i < n; i++) row[i] -= factor * gradient[i];
}

/* The pair of position i and its neighbour, row c of `outputs`: its loss and its gradients. */
static inline __attribute__((always_inline)) void near_pair(Job *job, ptrdiff_t i, ptrdiff_t c)
{
    ptrdiff_t n = job->features;
    const float *h = job->hidden + i * n, *o = job->outputs + c * n;
    float p = sigmoid(job, dot(h, o, n));
    job->loss -= logf(p);
    job->pairs++;
    add_both(job->of_hidden + i * n, o, job->of_outputs + c * n, h, p - 1, n);
}

/* `FOUR` positions from i on and the drawn token of row c: gradients, by the weight of each position. Rows of `hidden` are
   read together, which saves most of the traffic. */
static inline __attribute__((always_inline)) void drawn_pairs(Job *job, ptrdiff_t i, ptrdiff_t c, const float *weights)
{
    ptrdiff_t n = job->features;
    const float *restrict h = job->hidden + i * n, *restrict o = job->outputs + c * n;
    float *restrict of_h = job->of_hidden + i * n, *restrict of_o = job->of_outputs + c * n;
    const float *restrict h1 = h + n, *restrict h2 = h1 + n, *restrict h3 = h2 + n;
    float *restrict of_h1 = of_h + n, *restrict of_h2 = of_h1 + n, *restrict of_h3 = of_h2 + n;
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    VECTOR for (ptrdiff_t r = 0; r < n; r++) {
        s0 += h[r] * o[r];
        s1 += h1[r] * o[r];
        s2 += h2[r] * o[r];
        s3 += h3[r] * o[r];
    }
    s0 = weights[0] * sigmoid(job, s0);
    s1 = weights[1] * sigmoid(job, s1);
    s2 = weights[2] * sigmoid(job, s2);
    s3 = weights[3] * sigmoid(job, s3);
    VECTOR for (ptrdiff_t r = 0; r < n; r++) {
        float value = o[r];
        of_h[r] += s0 * value;
        of_h1[r] += s1 * value;
        of_h2[r] += s2 * value;
        of_h3[r] += s3 * value;
        of_o[r] += s0 * h[r] + s1 * h1[r] + s2 * h2[r] + s3 * h3[r];
    }
}

CLONES void block(Job *job, const int32_t *tokens, ptrdiff_t length, ptrdiff_t begin)
{
    ptrdiff_t n = job->features, half = job->half, reach = half + job->context;
    ptrdiff_t rows = length - begin < BLOCK ? length - begin : BLOCK;
    ptrdiff_t read = rows + 2 * half, near = rows + 2 * reach, all = near + NEGATIVES;
    size_t row_bytes = (size_t)n * sizeof(float);

    for (ptrdiff_t k = 0; k < read; k++) {
        ptrdiff_t at = begin - half + k;
        if (at < 0 || at >= length) memset(job->inputs + k * n, 0, row_bytes);
        else memcpy(job->inputs + k * n, job->weight + (ptrdiff_t)tokens[at] * n, row_bytes);
    }
    for (ptrdiff_t i = 0; i < rows; i++) {
        float *h = job->hidden + i * n;
        memcpy(h, job->bias, row_bytes);
        for (ptrdiff_t k = 0; k <= 2 * half; k++) add(h, job->inputs + (i + k) * n, n);
        VECTOR for (ptrdiff_t r = 0; r < n; r++) h[r] = h[r] > 0 ? h[r] : 0;
    }
    for (ptrdiff_t k = 0; k < all; k++) {
        ptrdiff_t at = begin - reach + k;
        int32_t token = -1;
        if (k >= near) token = job->drawn[(next(&job->random) >> 32) & job->drawn_mask];
        else if (at >= 0 && at < length && tokens[at] >= job->frequent) token = tokens[at];
        job->targets[k] = token;
        if (token >= 0) memcpy(job->outputs + k * n, job->out + (ptrdiff_t)token * n, row_bytes);
    }
    memset(job->of_outputs, 0, (size_t)all * row_bytes);
    memset(job->of_hidden, 0, BLOCK * row_bytes);
    memset(job->hidden + rows * n, 0, (size_t)(BLOCK - rows) * row_bytes);
    float weights[BLOCK] = {0};
    for (ptrdiff_t i = 0; i < rows; i++) {
        int neighbours = 0;
        for (ptrdiff_t k = 0; k <= 2 * reach; k++) {
            if ((k >= job->context && k <= job->context + 2 * half) || job->targets[i + k] < 0) continue;
            near_pair(job, i, i + k);
            neighbours++;
        }
        weights[i] = job->negatives * (float)neighbours / NEGATIVES;
    }
    for (ptrdiff_t c = near; c < all; c++)
        for (ptrdiff_t i = 0; i < rows; i += FOUR) drawn_pairs(job, i, c, weights + i);
    for (ptrdiff_t i = 0; i < rows * n; i++) job->of_hidden[i] = job->hidden[i] > 0 ? job->of_hidden[i] : 0;
    for (ptrdiff_t c = 0; c < all; c++) {
        ptrdiff_t token = job->targets[c];
        if (token >= 0) update(job->out + token * n, job->of_out + token, job->of_outputs + c * n, job->rate, n);
    }
    memset(job->gradient, 0, row_bytes);
    for (ptrdiff_t i = 0; i < rows; i++) add(job->gradient, job->of_hidden + i * n, n);
    update(job->bias, job->of_bias, job->gradient, job->rate, n);
    for (ptrdiff_t k = 0; k < read; k++) {
        ptrdiff_t at = begin - half + k;
        if (at < 0 || at >= length) continue;
        ptrdiff_t first = k < 2 * half ? 0 : k - 2 * half, last = k < rows ? k : rows - 1;
        memset(job->gradient, 0, row_bytes);
        for (ptrdiff_t i = first; i <= last; i++) add(job->gradient, job->of_hidden + i * n, n);
        update(job->weight + (ptrdiff_t)tokens[at] * n, job->of_weight + tokens[at], job->gradient, job->rate, n);
    }
}

static int scratch(Job *job)
{
    size_t features = (size_t)job->features, read = BLOCK + 2 * (size_t)job->half;
    size_t all = BLOCK + 2 * (size_t)(job->half + job->context) + NEGATIVES;
    float *memory = malloc((read + 2 * BLOCK + 2 * all + 1) * features * sizeof(float) + all * sizeof(int32_t));
    if (!memory) return 0;
    job->inputs = memory;
    job->hidden = job->inputs + read * features;
    job->of_hidden = job->hidden + BLOCK * features;
    job->outputs = job->of_hidden + BLOCK * features;
    job->of_outputs = job->outputs + all * features;
    job->gradient = job->of_outputs + all * features;
    job->targets = (int32_t *)(job->gradient + features);
    for (int i = 0; i <= 2 * STEEPEST * STEPS_PER_UNIT; i++)
        job->sigmoid[i] = 1.0f / (1.0f + expf((float)STEEPEST - (float)i / STEPS_PER_UNIT));
    return 1;
}

PyDoc_STRVAR(learn_doc,
    "learn(ids, offsets, reviews, features, half, context, frequent, weight, bias, out, of_weight, of_bias, of_out, drawn,\n"
    "      num_drawn, seed, first_rate, last_rate, negatives)\n\n"
    "Addresses of tensors; updates the six in the middle in place. Review i has the tokens ids[offsets[i]:offsets[i + 1]].\n"
    "The rate falls from the first to the last. Returns the sum of -log p over pairs of neighbours, and their number.");

static PyObject *learn(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_ssize_t ids, offsets, reviews, weight, bias, out, of_weight, of_bias, of_out, drawn, num_drawn;
    unsigned long long seed;
    float first_rate, last_rate;
    Job *job = calloc(1, sizeof *job);
    if (!job) return PyErr_NoMemory();
    if (!PyArg_ParseTuple(arguments, "nnnnnnnnnnnnnnnKfff", &ids, &offsets, &reviews, &job->features, &job->half,
            &job->context, &job->frequent, &weight, &bias, &out, &of_weight, &of_bias, &of_out, &drawn, &num_drawn, &seed,
            &first_rate, &last_rate, &job->negatives)) {
        free(job);
        return NULL;
    }
    job->ids = (const int32_t *)ids;
    job->weight = (float *)weight, job->bias = (float *)bias, job->out = (float *)out;
    job->of_weight = (float *)of_weight, job->of_bias = (float *)of_bias, job->of_out = (float *)of_out;
    job->drawn = (const int32_t *)drawn;
    job->drawn_mask = (uint64_t)num_drawn - 1;
    job->random = seed | 1;
    if (!scratch(job)) {
        free(job);
        return PyErr_NoMemory();
    }
    const int64_t *bounds = (const int64_t *)offsets;
    Py_BEGIN_ALLOW_THREADS
    for (ptrdiff_t i = 0; i < reviews; i++) {
        const int32_t *tokens = job->ids + bounds[i];
        ptrdiff_t length = (ptrdiff_t)(bounds[i + 1] - bounds[i]);
        job->rate = first_rate + (last_rate - first_rate) * ((float)i / (float)reviews);
        for (ptrdiff_t begin = 0; begin < length; begin += BLOCK) block(job, tokens, length, begin);
    }
    Py_END_ALLOW_THREADS
    double loss = job->loss;
    long long pairs = job->pairs;
    free(job->inputs);
    free(job);
    return Py_BuildValue("dL", loss, pairs);
}

static PyMethodDef methods[] = {
    {"learn", learn, METH_VARARGS, learn_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_regions", "Region features, outside of the global lock.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__regions(void)
{
    return PyModuleDef_Init(&definition);
}
