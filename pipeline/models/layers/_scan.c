/* The elementwise linear recurrence h_t = a_t h_{t−1} + b_t over rows of different lengths, its gradient, and its pooled
   states, outside of Python's global lock. `scan.py` says what each function computes and checks every shape; a function
   here trusts its arguments, which are addresses of tensors that the caller keeps alive. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_DEFAULT */
#endif
#include <Python.h>

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A row function in versions for AVX-512, AVX2 and any processor; the loader picks one. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define ROW __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default"))) static
#else
#define ROW static
#endif

enum { SCAN, SCAN_GRADIENT, AVERAGE, AVERAGE_GRADIENT, OPERATIONS };
enum { MOST_OPERANDS = 6 };
static const int OPERANDS[OPERATIONS] = {3, 5, 3, 6}; /* outputs first */
static const int OUTPUTS[OPERATIONS] = {1, 2, 1, 2};
static const int STATES[OPERATIONS] = {0, 4, 0, 5}; /* which operand has the states h */

typedef struct {
    char *data;
    ptrdiff_t time, row; /* bytes from one position, and from one row, to the next */
} Operand;

typedef struct {
    int operation, is_double, is_complex;
    ptrdiff_t positions, rows, features;
    ptrdiff_t split;        /* features from here on are read from each row's end */
    const int64_t *lengths; /* NULL: all rows have `positions` tokens */
    const int64_t *starts;  /* where each row begins among the tokens of all rows; NULL: rows are padded */
    char *carry;            /* zeros, rows × features: what a gradient takes to the position before */
    const char *zeros;      /* as many as there are features */
    Operand operands[MOST_OPERANDS];
    ptrdiff_t share, next; /* rows that a thread takes at once, and the first that none has taken */
} Job;

static char *address(const Job *job, int operand, ptrdiff_t t, ptrdiff_t row)
{
    const Operand *found = &job->operands[operand];
    if (job->starts) t += (ptrdiff_t)job->starts[row];
    return found->data + t * found->time + row * found->row;
}

static ptrdiff_t length_of(const Job *job, ptrdiff_t row)
{
    if (!job->lengths || job->lengths[row] > job->positions) return job->positions;
    return (ptrdiff_t)job->lengths[row];
}

/* e^r by the terms r^k / k! up to k = 7, and up to k = 13 */
#define SERIES_7(r, after) \
    (1 + r * (1 + r * (C(2) + r * (C(6) + r * (C(24) + r * (C(120) + r * (C(720) + r * (after))))))))
#define SERIES_13(r) \
    SERIES_7(r, C(5040) + r * (C(40320) + r * (C(362880) + r * (C(3628800) + r * (C(39916800) + r * (C(479001600) \
        + r * C(6227020800)))))))
#define C(factorial) ((REAL)(1.0 / factorial))

#define REAL float
#define WORD uint32_t
#define NAME(x) x##_float
#define LIMIT 87.0f
#define MAGIC 12582912.0f
#define LN2_HIGH 0.693145751953125f
#define LN2_LOW 1.42860682030941723212e-6f
#define SERIES(r) SERIES_7(r, C(5040))
#define EXPONENT_BIAS 127u
#define MANTISSA_BITS 23
#include "_scan_rows.h"
#undef REAL
#undef WORD
#undef NAME
#undef LIMIT
#undef MAGIC
#undef LN2_HIGH
#undef LN2_LOW
#undef SERIES
#undef EXPONENT_BIAS
#undef MANTISSA_BITS

#define REAL double
#define WORD uint64_t
#define NAME(x) x##_double
#define LIMIT 708.0
#define MAGIC 6755399441055744.0
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define SERIES(r) SERIES_13(r)
#define EXPONENT_BIAS 1023u
#define MANTISSA_BITS 52
#include "_scan_rows.h"

/* ---- all rows ---- */

static void step(const Job *job, ptrdiff_t t, ptrdiff_t row, ptrdiff_t from, ptrdiff_t features, int backward)
{
    (job->is_double ? step_double : step_float)(job, t, row, from, features, backward);
}

/* Rows `begin` to `end` of one direction. Padded rows lie position by position in memory, packed ones row by row. */
static void read_rows(const Job *job, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t from, ptrdiff_t features, int backward)
{
    int descending = backward != (job->operation == SCAN_GRADIENT || job->operation == AVERAGE_GRADIENT);
    if (!features) return;
    if (job->starts) {
        for (ptrdiff_t row = begin; row < end; row++) {
            ptrdiff_t length = length_of(job, row);
            for (ptrdiff_t k = 0; k < length; k++)
                step(job, descending ? length - 1 - k : k, row, from, features, backward);
        }
        return;
    }
    for (ptrdiff_t k = 0; k < job->positions; k++)
        for (ptrdiff_t row = begin; row < end; row++)
            step(job, descending ? job->positions - 1 - k : k, row, from, features, backward);
}

static void work(void *argument)
{
    Job *job = argument;
    for (;;) {
        ptrdiff_t begin = __atomic_fetch_add(&job->next, job->share, __ATOMIC_RELAXED);
        if (begin >= job->rows) return;
        ptrdiff_t end = begin + job->share < job->rows ? begin + job->share : job->rows;
        read_rows(job, begin, end, 0, job->split, 0);
        read_rows(job, begin, end, job->split, job->features - job->split, 1);
    }
}

/* The OpenMP runtime that torch has loaded: its threads are awake, and a pool of our own would contend with them. */
typedef void (*Parallel)(void (*)(void *), void *, unsigned, unsigned);

static Parallel find_parallel(void)
{
    void *symbol = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    Parallel found;
    memcpy(&found, &symbol, sizeof found);
    return found;
}

static void run_job(Job *job, int threads)
{
    Parallel parallel = threads > 1 ? find_parallel() : NULL;
    if (threads > job->rows) threads = job->rows ? (int)job->rows : 1;
    job->share = parallel ? (job->rows + threads - 1) / threads : job->rows;
    if (parallel && threads > 1)
        parallel(work, job, (unsigned)threads, 0);
    else if (job->rows)
        work(job);
}

PyDoc_STRVAR(run_doc,
    "run(operation, is_double, is_complex, positions, rows, features, split, lengths, starts, threads, operands)\n\n"
    "Runs one of the operations 0 scan (h, a, b), 1 its gradient (da, db, g, a, h), 2 gated average (h, gate, c), 3 its\n"
    "gradient (dgate, dc, g, gate, c, h). `operands`: for each tensor, outputs first, its address and the bytes from one\n"
    "position and from one row to the next. `lengths`, `starts`: addresses of int64, or 0.");

static PyObject *run(PyObject *module, PyObject *arguments)
{
    (void)module;
    Job job = {0};
    Py_ssize_t lengths, starts;
    int threads;
    PyObject *operands;
    if (!PyArg_ParseTuple(arguments, "iiinnnnnniO!", &job.operation, &job.is_double, &job.is_complex, &job.positions,
            &job.rows, &job.features, &job.split, &lengths, &starts, &threads, &PyTuple_Type, &operands))
        return NULL;
    if (job.operation < 0 || job.operation >= OPERATIONS || PyTuple_Size(operands) != 3 * OPERANDS[job.operation]) {
        PyErr_SetString(PyExc_ValueError, "run: an operation from 0 to 3 with three numbers for each operand");
        return NULL;
    }
    for (int i = 0; i < OPERANDS[job.operation]; i++) {
        Operand *operand = &job.operands[i];
        operand->data = PyLong_AsVoidPtr(PyTuple_GetItem(operands, 3 * i));
        operand->time = PyLong_AsSsize_t(PyTuple_GetItem(operands, 3 * i + 1));
        operand->row = PyLong_AsSsize_t(PyTuple_GetItem(operands, 3 * i + 2));
    }
    if (PyErr_Occurred()) return NULL;
    job.lengths = (const int64_t *)lengths;
    job.starts = (const int64_t *)starts;
    size_t row_bytes = (size_t)job.features * (job.is_complex ? 2 : 1) * (job.is_double ? 8 : 4);
    size_t carried = STATES[job.operation] ? (size_t)job.rows : 0;
    char *scratch = calloc((carried + 1) * row_bytes + 1, 1);
    if (!scratch) return PyErr_NoMemory();
    job.zeros = scratch;
    job.carry = scratch + row_bytes;
    Py_BEGIN_ALLOW_THREADS
    run_job(&job, threads);
    Py_END_ALLOW_THREADS
    free(scratch);
    Py_RETURN_NONE;
}

/* ---- pooled states, for scoring ---- */

ROW void pool(
    float *restrict h, float *restrict largest, float *restrict total, const float *restrict a, const float *restrict b,
    ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        float state = a[i] * h[i] + b[i];
        h[i] = state;
        largest[i] = state > largest[i] || state != state ? state : largest[i];
        total[i] += state;
    }
}

enum { AHEAD = 6, LINE = 64 }; /* tokens to ask memory for early; bytes of a cache line */

static void ask_for(const float *values, ptrdiff_t features)
{
    for (ptrdiff_t at = 0; at < features; at += LINE / 4) __builtin_prefetch(values + at);
}

typedef struct {
    const float *table;                     /* a and b side by side; */
    const float *no_decay;                  /* zeros, where it has b alone */
    const int64_t *index, *starts, *lengths; /* index NULL: token k is row k of the table */
    ptrdiff_t rows, features, split;
    float *last, *largest, *total;
} Pool;

static const float *entry(const Pool *all, ptrdiff_t token)
{
    ptrdiff_t at = all->index ? (ptrdiff_t)all->index[token] : token;
    return all->table + at * all->features * (all->no_decay ? 1 : 2);
}

/* One row, `n` features from `from` on. */
static void pool_row(const Pool *all, ptrdiff_t row, ptrdiff_t from, ptrdiff_t n, int backward)
{
    ptrdiff_t length = (ptrdiff_t)all->lengths[row], begin = (ptrdiff_t)all->starts[row], to = row * all->features + from;
    ptrdiff_t stride = backward ? -1 : 1, token = backward ? begin + length - 1 : begin;
    for (ptrdiff_t k = 0; n && k < length; k++, token += stride) {
        if (all->index && k + AHEAD < length) {
            const float *later = entry(all, token + AHEAD * stride) + from;
            ask_for(later, n);
            if (!all->no_decay) ask_for(later + all->features, n);
        }
        const float *found = entry(all, token) + from;
        const float *a = all->no_decay ? all->no_decay : found, *b = all->no_decay ? found : found + all->features;
        pool(all->last + to, all->largest + to, all->total + to, a, b, n);
    }
}

PyDoc_STRVAR(pool_rows_doc,
    "pool_rows(table, has_decay, index, starts, lengths, rows, features, split, last, largest, total)\n\n"
    "Addresses of float32 and int64. Row `index[k]` of `table`, or row k where `index` is 0, has a and b of token k side by\n"
    "side, or b alone; starts and lengths say which tokens each row has, one at least. Writes the last state, the largest\n"
    "and the sum of all states of each feature: (rows, features) each.");

static PyObject *pool_rows(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_ssize_t table, index, starts, lengths, last, largest, total;
    int has_decay;
    Pool all = {0};
    if (!PyArg_ParseTuple(arguments, "ninnnnnnnnn", &table, &has_decay, &index, &starts, &lengths, &all.rows, &all.features,
            &all.split, &last, &largest, &total))
        return NULL;
    float *zeros = calloc((size_t)all.features + 1, sizeof *zeros);
    if (!zeros) return PyErr_NoMemory();
    all.table = (const float *)table;
    all.no_decay = has_decay ? NULL : zeros;
    all.index = (const int64_t *)index;
    all.starts = (const int64_t *)starts;
    all.lengths = (const int64_t *)lengths;
    all.last = (float *)last;
    all.largest = (float *)largest;
    all.total = (float *)total;
    Py_BEGIN_ALLOW_THREADS
    for (ptrdiff_t i = 0; i < all.rows * all.features; i++) {
        all.last[i] = all.total[i] = 0;
        all.largest[i] = -__builtin_inff();
    }
    for (ptrdiff_t row = 0; row < all.rows; row++) {
        pool_row(&all, row, 0, all.split, 0);
        pool_row(&all, row, all.split, all.features - all.split, 1);
    }
    Py_END_ALLOW_THREADS
    free(zeros);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"run", run, METH_VARARGS, run_doc},
    {"pool_rows", pool_rows, METH_VARARGS, pool_rows_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_scan", "Linear recurrences, outside of the global lock.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__scan(void)
{
    return PyModuleDef_Init(&definition);
}
