"""A busy machine is no defect: the time that one example takes says nothing."""

from hypothesis import settings

settings.register_profile("perpkit-portfolio-margin", settings(), deadline=None)
settings.load_profile("perpkit-portfolio-margin")
