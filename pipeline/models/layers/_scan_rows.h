/* One row of one position, for one type of number. `_scan.c` includes this file once for each type.

   REAL: float or double. WORD: an unsigned integer of its size. NAME(x): x with the type's suffix.
   n features of one row; complex numbers stand as (real, imaginary) pairs. `before` is the state that a row comes from,
   NULL at the row's first token. Every loop is free of branches, so that the compiler makes vector code of it. */

ROW void NAME(scan)(REAL *restrict h, const REAL *restrict before, const REAL *restrict a, const REAL *restrict b, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) h[i] = a[i] * before[i] + b[i];
}

ROW void NAME(scan_complex)(
    REAL *restrict h, const REAL *restrict before, const REAL *restrict a, const REAL *restrict b, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL x = before[2 * i], y = before[2 * i + 1], u = a[2 * i], v = a[2 * i + 1];
        h[2 * i] = u * x - v * y + b[2 * i];
        h[2 * i + 1] = u * y + v * x + b[2 * i + 1];
    }
}

/* r = g + carry: the gradient of h through all later positions; then carry = conj(a) r. */
ROW void NAME(gradient)(
    REAL *restrict da, REAL *restrict db, REAL *restrict carry, const REAL *restrict g, const REAL *restrict a,
    const REAL *restrict before, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL r = g[i] + carry[i];
        db[i] = r;
        da[i] = r * before[i];
        carry[i] = a[i] * r;
    }
}

/* The same for an `a` that all positions share: the sum over positions of each row. */
ROW void NAME(gradient_shared)(
    REAL *restrict da, REAL *restrict db, REAL *restrict carry, const REAL *restrict g, const REAL *restrict a,
    const REAL *restrict before, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL r = g[i] + carry[i];
        db[i] = r;
        da[i] += r * before[i];
        carry[i] = a[i] * r;
    }
}

ROW void NAME(gradient_complex)(
    REAL *restrict da, REAL *restrict db, REAL *restrict carry, const REAL *restrict g, const REAL *restrict a,
    const REAL *restrict before, ptrdiff_t n, int shared)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL p = g[2 * i] + carry[2 * i], q = g[2 * i + 1] + carry[2 * i + 1];
        REAL x = before[2 * i], y = before[2 * i + 1], u = a[2 * i], v = a[2 * i + 1];
        db[2 * i] = p;
        db[2 * i + 1] = q;
        da[2 * i] = (shared ? da[2 * i] : 0) + (p * x + q * y);
        da[2 * i + 1] = (shared ? da[2 * i + 1] : 0) + (q * x - p * y);
        carry[2 * i] = u * p + v * q;
        carry[2 * i + 1] = u * q - v * p;
    }
}

/* exp(x) for −LIMIT ≤ x ≤ LIMIT: 2^k e^r with |r| ≤ ln 2 / 2, e^r by its Taylor series to the last digit. Adding MAGIC
   leaves k in the low bits of the sum. NaN stays NaN. */
static inline __attribute__((always_inline)) REAL NAME(exponential)(REAL x)
{
    x = x > LIMIT ? LIMIT : x;
    x = x < -LIMIT ? -LIMIT : x;
    REAL sum = x * (REAL)1.4426950408889634 + MAGIC;
    REAL k = sum - MAGIC;
    REAL r = (x - k * LN2_HIGH) - k * LN2_LOW;
    REAL series = SERIES(r);
    WORD bits;
    memcpy(&bits, &sum, sizeof bits);
    bits = (bits + EXPONENT_BIAS) << MANTISSA_BITS;
    REAL power;
    memcpy(&power, &bits, sizeof power);
    return series * power;
}

/* f = σ(gate) and 1 − f, both to full relative precision. h = f before + (1 − f) c. */
ROW void NAME(average)(
    REAL *restrict h, const REAL *restrict before, const REAL *restrict gate, const REAL *restrict c, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL odds = NAME(exponential)(-gate[i]), f = 1 / (1 + odds);
        h[i] = f * before[i] + odds * f * c[i];
    }
}

ROW void NAME(average_gradient)(
    REAL *restrict dgate, REAL *restrict dc, REAL *restrict carry, const REAL *restrict g, const REAL *restrict gate,
    const REAL *restrict c, const REAL *restrict before, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        REAL odds = NAME(exponential)(-gate[i]), f = 1 / (1 + odds), rest = odds * f, r = g[i] + carry[i];
        dgate[i] = r * (before[i] - c[i]) * f * rest;
        dc[i] = r * rest;
        carry[i] = f * r;
    }
}

/* One position of `features` numbers from feature `from` on, in row `row`. */
static void NAME(step)(const Job *job, ptrdiff_t t, ptrdiff_t row, ptrdiff_t from, ptrdiff_t features, int backward)
{
    ptrdiff_t length = length_of(job, row);
    ptrdiff_t width = job->is_complex ? 2 : 1, n = features;
    from *= width;
    REAL *at[MOST_OPERANDS];
    for (int i = 0; i < OPERANDS[job->operation]; i++) at[i] = (REAL *)address(job, i, t, row) + from;
    if (t >= length) {
        for (int i = 0; i < OUTPUTS[job->operation]; i++)
            if (job->operands[i].time) memset(at[i], 0, (size_t)(n * width) * sizeof(REAL));
        return;
    }
    const REAL *before = (const REAL *)job->zeros;
    int first = backward ? t == length - 1 : t == 0;
    int states = STATES[job->operation];
    if (!first) before = (const REAL *)address(job, states, backward ? t + 1 : t - 1, row) + from;
    REAL *carry = (REAL *)job->carry + (row * job->features * width + from);
    int shared = job->operands[0].time == 0;
    switch (job->operation) {
    case SCAN: /* h, a, b */
        (job->is_complex ? NAME(scan_complex) : NAME(scan))(at[0], before, at[1], at[2], n);
        break;
    case SCAN_GRADIENT: /* da, db, g, a, h */
        if (job->is_complex)
            NAME(gradient_complex)(at[0], at[1], carry, at[2], at[3], before, n, shared);
        else
            (shared ? NAME(gradient_shared) : NAME(gradient))(at[0], at[1], carry, at[2], at[3], before, n);
        break;
    case AVERAGE: /* h, gate, c */
        NAME(average)(at[0], before, at[1], at[2], n);
        break;
    case AVERAGE_GRADIENT: /* dgate, dc, g, gate, c, h */
        NAME(average_gradient)(at[0], at[1], carry, at[2], at[3], at[4], before, n);
        break;
    }
}
