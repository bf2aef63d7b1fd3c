//! Load balancing as pure rules: pickers, load estimates, slow start, locality, outlier ejection.
