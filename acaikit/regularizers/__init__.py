"""Regularizers: whatever makes an autoencoder more than a plain one."""

from acaikit.regularizer import Architecture, Regularizer
from acaikit.regularizers.acai import ACAI
from acaikit.regularizers.adversarial_prior import AdversarialPrior
from acaikit.regularizers.denoising import Denoising
from acaikit.regularizers.kl import KL
from acaikit.regularizers.latent_dropout import LatentDropout
from acaikit.regularizers.vq_ema import VQEMA

__all__ = ["ACAI", "KL", "VQEMA", "AdversarialPrior", "Architecture", "Denoising", "LatentDropout", "Regularizer"]
