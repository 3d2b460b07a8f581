"""Runs so small that they take a moment: lines of 8x8, a few steps of six samples, every kind of model."""

BATCH = 6
MODELS = {
    "baseline": [],
    "dropout": ["Experiment.regularizers = [@LatentDropout()]"],
    "denoising": ["Experiment.regularizers = [@Denoising()]"],
    "vae": ["Experiment.likelihood = @Bernoulli()", "Experiment.regularizers = [@KL()]"],
    "aae": ["Experiment.regularizers = [@AdversarialPrior()]"],
    "vqvae": ["Experiment.regularizers = [@VQEMA()]", "VQEMA.entries = 32", "VQEMA.hidden = 8"],
    "acai": ["Experiment.regularizers = [@ACAI()]"],
    "vae+acai": ["Experiment.regularizers = [@KL(), @ACAI()]"],
}
"""Bindings by model, which go above the recipe's."""


def recipe(steps: int, every: int) -> str:
    """Return a recipe of so many steps, with a row of metrics after each `every` of them."""
    return f"""
Experiment.dataset = @Lines()
Experiment.encoder = @ConvEncoder()
Experiment.decoder = @ConvDecoder()
Experiment.evaluators = [@FactorBenchmark(), @ProbeAccuracy(), @Reconstruction()]
Experiment.batch_size = {BATCH}
Experiment.samples = {BATCH * steps}
Experiment.evaluate_every = {BATCH * every}
Lines.height = 8
Lines.width = 8
Lines.test_size = 12
FactorBenchmark.pairs = 3
FactorBenchmark.steps = 3
ConvEncoder.depth = 4
ConvEncoder.scales = 2
ConvEncoder.latent = 2
ConvDecoder.depth = 4
ConvDecoder.scales = 2
"""
