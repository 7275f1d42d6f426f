"""Naive Bayes features in a linear model: hashed n-grams, each counted once, weighted by log-count ratios. The baseline.

    logits_c = b_c + Σ_k w_kc,   w_kc = v_kc · s · r_kc,   k over the distinct 1- to `ngrams`-grams of the review

r_kc: log of how much more often reviews of class c have n-gram k than the others do; v is learned. There is no word order
but that inside an n-gram, no embedding and no state: it is fitted in seconds, and on the labels alone few networks are more
accurate. `training/ngram_fit.py` fits it; the model's equations and shapes stand in `layers/ngram_linear.py`.

Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", ACL, section 2.3,
with the logistic loss and the trigrams of Mesnil et al. 2014, "Ensemble of generative and discriminative techniques".
"""
