"""What every tier shares: an environment that is the same on every machine, and the emulators."""

import os

from hypothesis import settings

pytest_plugins = ["tests.emulators"]

_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "KERAS_BACKEND": "tensorflow",
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
# Of a developer's shell: they would send a test to another endpoint or account than its own.
_FOREIGN = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN", "LOCALSTACK_HOST", "USE_SSL")


def pytest_configure() -> None:
    """Set what must be set before a test module imports TensorFlow or ONNX Runtime."""
    os.environ.update(_ENVIRONMENT)
    for name in _FOREIGN:
        os.environ.pop(name, None)
    # The same examples on every machine; and how long one takes says nothing on a busy one.
    settings.register_profile("everywhere", derandomize=True, deadline=None)
    settings.load_profile("everywhere")
