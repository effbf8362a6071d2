"""Measures models on labelled pictures: answers, figures, comparisons and reports."""
