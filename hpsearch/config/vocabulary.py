"""Words of other tools and their counterparts here, as data: keys, values, and names of menus.

Each entry maps a counterpart to the words for it. A counterpart is the path of a key, or a valid value; ` (…)` after it
is a remark, and a remark alone means that there is no counterpart. `hints.py` looks words up, without regard to case,
`_`, `-` and spaces.

The tools: scikit-learn, Keras, PyTorch, Optuna, Ray Tune, Hyperopt, NNI, Katib, Weights & Biases, SMAC, Ax, pandas.
"""

# Keys, wherever they are found.
FOREIGN_KEYS = {
    # The study.
    "name": "study_name experiment experiment_name project project_name sweep_name",
    "seed": "random_state random_seed manual_seed global_seed rng",
    "data": "dataset datasets input_data",
    "model": "network net architecture mlp estimator",
    "train": "training trainer fit",
    "parameters": "search_space hyperparameters params param_space param_grid param_distributions config_space",
    "metric": "objective objectives scoring eval_metric",
    "metric.name": "objective_metric_name monitor",
    "metric.goal": "direction optimize_mode greater_is_better",
    "workers": "n_jobs num_workers trial_concurrency parallel_trial_count max_concurrent max_concurrent_trials"
    " n_concurrent_trials num_concurrent parallelism",
    "max_failed": "max_failed_trial_count",
    # Stages and pruning.
    "stages.trials": "n_trials num_trials max_trials max_trial_number max_trial_count total_trials num_samples"
    " max_evals n_iter n_calls run_cap",
    "stages.sampler": "algorithm algorithm_name method search_alg search_algorithm tuner strategy",
    "stages.timeout": "max_experiment_duration max_duration time_budget time_budget_s time_limit max_time max_runtime",
    "stages.points": "initial_points initial_params points_to_evaluate enqueue enqueue_trial starting_points",
    "stages.seeds": "n_seeds n_repeats num_repeats replications",
    "stages.top": "top_k n_best",
    "pruning": "pruner assessor early_terminate early_terminator asha median_stop",
    "pruning.min_epochs": "min_resource min_resources min_iter grace_period n_warmup_steps start_step",
    "pruning.reduction": "reduction_factor eta",
    "pruning.n_startup_trials": "min_trials_required min_samples_required",
    # Training.
    "train.learning_rate": "lr learning_rate_init base_lr initial_lr init_lr initial_learning_rate eta0 step_size",
    "train.batch_size": "batch bs minibatch minibatch_size train_batch_size per_device_train_batch_size",
    "train.epochs": "max_iter max_epochs num_epochs n_epochs nb_epoch num_train_epochs training_epochs",
    "train.l2 (for momentum and sgd it is their weight_decay; adamw has a weight_decay of its own)": "weight_decay wd",
    "train.l2": "l2_reg l2_regularization reg_lambda kernel_regularizer",
    "train.l2 (with penalty_divisor: batch_size it is scikit-learn's alpha)": "alpha",
    "train.l1": "l1_reg l1_regularization",
    "train.early_stopping.patience": "n_iter_no_change early_stopping_rounds early_stopping_patience",
    "train.early_stopping.min_delta": "tol tolerance min_improvement",
    "train.keep": "restore_best_weights save_best save_best_only load_best_model_at_end",
    "train.optimizer": "solver optim optimiser opt",
    "train.optimizer: {name: momentum, beta: 0.9}": "momentum",
    "train.optimizer: {name: nesterov, beta: 0.9}": "nesterov nesterovs_momentum use_nesterov",
    "train.optimizer: {name: adam, beta1: 0.9, beta2: 0.999}": "betas",
    "train.schedule": "lr_scheduler lr_schedule learning_rate_schedule lr_decay",
    "train.clip: {name: norm, limit: 1.0}": "clip_norm gradient_clip gradient_clipping gradient_clip_val"
    " grad_clip clip_grad clip_grad_norm max_grad_norm",
    "train.clip: {name: value, limit: 1.0}": "clip_value clip_grad_value",
    "train.row_sampling": "shuffle bootstrap",
    "train.row_sampling: balanced": "class_weight class_weights sample_weight",
    "train.check_every": "eval_every eval_interval eval_freq validation_freq check_val_every_n_epoch",
    # The network.
    "model.hidden": "hidden_layer_sizes hidden_sizes hidden_dims hidden_layers layer_sizes",
    "model.hidden.units": "n_units num_units n_hidden hidden_units hidden_size hidden_dim neurons n_neurons"
    " num_neurons width",
    "model.hidden.activation": "act activation_function hidden_activation non_linearity",
    "model.hidden.dropout": "dropout_rate drop_rate dropout_prob p_drop",
    "model.hidden.batch_norm": "batchnorm use_batch_norm use_bn",
    "model.depth": "n_layers num_layers n_hidden_layers num_hidden_layers nb_layers",
    "model.initializer": "kernel_initializer weight_init weight_initialization init_method",
    "model.output.activation": "output_activation final_activation",
    # The data.
    "data.path": "csv_path csv_file file_path filename file",
    "data.separator": "sep delimiter delim",
    "data.missing": "na_values null_values missing_values nan_values",
    "data.drop": "index_col drop_columns ignore_columns exclude",
    "data.target": "label_column target_column target_name y_col response",
    "data.task": "problem_type task_type",
    "data.categorical": "cat_features categorical_features categorical_columns",
    "data.scale": "scaler normalize standardize standardization",
    "data.impute": "imputer imputation fillna",
    "data.split": "test_size train_size train_test_split",
    "data.split.val": "validation_fraction validation_split val_size val_split",
    "data.split.folds": "cv n_splits k_folds kfold n_folds num_folds cross_validation",
    # No counterpart.
    " (the data determine the loss; remove it)": "loss criterion loss_function loss_fn",
    " (training uses the CPU; remove it)": "device gpu gpus cuda num_gpus accelerator use_gpu",
    " (not needed; remove it)": "verbose warm_start tracking_uri log_dir",
}

# Keys that mean something else in one section, by the section without list indexes and names of parameters.
SECTION_KEYS = {
    "metric": {"name": "metric", "goal": "type mode"},
    "data": {
        "split": "validation",
        "labels": "class_names label_map",
        "min_frequency": "rare",
        "max_categories": "categories",
    },
    "data.split": {"val": "validation valid dev"},
    "model": {"hidden": "units neurons", "hidden.activation": "nonlinearity"},
    "model.hidden": {"units": "size nodes features out_features", "dropout": "p rate"},
    "train": {"schedule": "scheduler", "row_sampling": "draw", "penalty_divisor": "penalty"},
    "train.early_stopping": {
        "metric.name": "monitor metric",
        "metric.goal": "mode",
        "patience": "rounds wait",
        "min_delta": "delta threshold",
    },
    "train.optimizer": {
        "train.learning_rate": "lr learning_rate",
        "beta": "momentum alpha decay",
        "epsilon": "eps",
        "train.l2": "weight_decay",
    },
    "parameters": {
        "min": "low lower minimum lower_bound min_value",
        "max": "high upper maximum upper_bound max_value",
        "values": "choices categories options list items enum sequence",
        "type": "parameter_type value_type dtype",
        "scale": "distribution sampling prior transform",
        "scale: log": "log_scale log_base",
        "guess": "default default_value init initial initial_value center mode",
        " (normal distributions are not supported; give min and max)": "mu sigma mean std stddev sd",
    },
    "stages": {
        "sampler": "type kind search algo optimizer",
        "trials": "n count num number samples iterations max_iter",
        "zoom": "shrink narrow",
        "top": "k best",
        "pruning": "scheduler early_stopping",
        "timeout": "duration",
    },
    "stages.zoom": {"keep_top": "top share fraction", "keep": "best", "every": "renew interval"},
    "pruning": {
        "kind": "type name algorithm method",
        "train.epochs": "max_iter max_resource max_t max_epochs",
        "reduction": "factor",
        "n_startup_trials": "startup",
    },
    # Keys of earlier versions.
    "": {
        "pruning": "scheduler",
        "duplicates": "repeats",
        "parallel (trials that train at the same time, without knowing each other's outcomes)": "wave wave_size",
    },
}

# Values by key, and names by the kind of their menu.
FOREIGN_VALUES = {
    "stages.sampler": {
        "tpe (or gp; both are Bayesian)": "bayes bayesian bayesian_optimization bayesopt bo",
        "tpe": "tpesampler hyperopt optuna parzen multivariate_tpe",
        "tpe (with pruning: hyperband)": "bohb tpe_hyperband",
        "forest": "random_forest rf smac smac3 rf_ei extra_trees regression_forest",
        "gp": "gpsampler gaussian_process gp_minimize skopt botorch botorchsampler",
        "random": "randomsampler random_search randomized randomized_search uniform",
        "random (with pruning: promote)": "asha sha hyperband successive_halving",
        "sobol": "qmc qmcsampler quasi_random lhs latin_hypercube halton",
        "sobol (or list the grid as points)": "grid gridsampler grid_search brute_force bruteforcesampler",
        "cmaes": "cma cma_es cmaessampler evolution evolutionary genetic nsgaii nsgaiisampler differential_evolution"
        " pso anneal",
    },
    "pruning.kind": {
        "promote": "asha sha halving successive_halving successivehalvingpruner async_hyperband",
        "hyperband": "bohb hyperbandpruner",
        "median": "medianpruner median_stop median_stopping medianstoppingrule percentile percentilepruner",
        "none": "nop noppruner off no",
    },
    "metric.name": {
        "val/loss": "loss val_loss validation_loss mse val/mse mean_squared_error neg_mean_squared_error",
        "val/accuracy": "acc accuracy val_acc val_accuracy val/error error",
        "val/balanced_accuracy (the mean recall of the classes)": "recall_macro balanced",
        "val/recall": "recall recall_score val_recall sensitivity tpr",
        "val/precision": "precision precision_score val_precision ppv",
        "val/f1": "f1 f1_score f1_macro val_f1 fbeta",
        "val/roc_auc": "auc roc_auc val_auc auroc",
        "val/log_loss": "logloss nll cross_entropy neg_log_loss",
        "val/r2": "r2 r2_score val_r2",
        "val/rmse": "rmse root_mean_squared_error neg_root_mean_squared_error",
        "val/mae": "mae mean_absolute_error neg_mean_absolute_error",
        "val/loss (a search must not see the test rows; they are scored at the end)": "test_loss",
        "val/accuracy (a search must not see the test rows; they are scored at the end)": "test_accuracy",
        "train/loss": "training_loss",
    },
    "metric.goal": {"minimize": "min minimise lower asc", "maximize": "max maximise higher desc"},
    "parameters.type": {
        "int": "integer long",
        "float": "double real number continuous",
        " (list the values: {values: […]})": "categorical choice ordinal discrete",
    },
    "parameters.scale": {
        "log": "log10 log2 ln logarithmic reciprocal",
        "linear": "lin uniform none",
        "one_minus_log": "logit",
    },
    "data.source": {
        "csv": "tsv txt file pandas table excel xlsx",
        "sql": "database sqlite postgres postgresql mysql",
        "npz": "numpy npy",
        "parquet": "feather arrow pyarrow",
        "sklearn": "scikit_learn builtin toy",
    },
    "optimizer": {
        "momentum": "sgdm sgd_momentum momentum_sgd heavy_ball",
        "nesterov": "nag nesterov_momentum sgd_nesterov",
        "adam": "adamax nadam radam amsgrad",
        "adam (optimizers use gradients only)": "lbfgs bfgs newton",
        "adamw": "lamb lion adam_w",
    },
    "schedule": {
        "cosine": "cosineannealing cosine_annealing_lr cosine_decay cosineannealingwarmrestarts",
        "step": "step_lr step_decay reduce_lr_on_plateau plateau adaptive",
        "multi_step": "multi_step_lr piecewise piecewise_constant",
        "exponential": "exponential_lr exponential_decay exp",
        "inverse": "inv_scaling",
        "inverse_time": "inverse_time_decay",
        "polynomial": "polynomial_lr polynomial_decay linear linear_lr",
        "constant": "none fixed constant_lr",
    },
    "activation": {
        "identity": "linear none",
        "sigmoid": "logistic sigm",
        "relu": "rectifier relu6",
        "leaky_relu": "lrelu",
        "elu": "gelu selu celu silu swish mish",
        "tanh": "hyperbolic_tangent htan",
    },
    "layer": {
        "dense": "linear fc fully_connected",
        "conv2d": "conv convolution",
        "max_pool2d": "maxpool maxpooling maxpooling2d pool",
        "identity": "none",
    },
    "initializer": {
        "xavier_uniform": "glorot glorot_uniform xavier",
        "xavier_normal": "glorot_normal",
        "he_normal": "kaiming kaiming_normal he",
        "he_uniform": "kaiming_uniform",
        "lecun_normal": "lecun",
        "zero": "zeros",
        "normal": "gaussian random_normal trunc_normal truncated_normal",
        "uniform": "random_uniform",
    },
    "scale": {
        "standard": "standard_scaler standardize zscore",
        "minmax": "min_max_scaler normalize normalise",
        "robust": "robust_scaler",
        "quantile": "quantile_transformer",
        "none": "false identity off",
    },
    "imputation": {"median": "mean", "most_frequent": "mode"},
}
