"""Naive Bayes features in a linear model: hashed n-grams, each counted once, weighted by log-count ratios. The baseline.

    logits_c = b_c + Σ_k w_kc,   w_kc = v_kc · s · r_kc,   k over the distinct 1- to `ngrams`-grams of the review

r_kc: log of how much more often reviews of class c have n-gram k than others; v is learned. Word order counts only within
n-grams, and there is no embedding or state: it trains in seconds, and with labels alone few networks are more accurate.
`training/ngram_fit.py` fits it; for equations and shapes, see `layers/ngram_linear.py`.

Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", ACL, section 2.3,
with the logistic loss and the trigrams of Mesnil et al. 2014, "Ensemble of generative and discriminative techniques".
"""

from pipeline.models.layers.linear_classifier import LinearClassifier


class Nbsvm(LinearClassifier):
    """The linear model of n-grams with the log-count ratios of naive Bayes."""

    year = 2012
    paper = "Wang & Manning 2012, Baselines and bigrams: simple, good sentiment and topic classification"
    summary = "n-grams weighted by naive Bayes in a linear model, fitted in seconds"
