"""What whoever waits for a batch job is sent, as SageMaker sends it."""

from datetime import datetime
from typing import Literal

import msgspec

__all__ = ["AsyncRequest", "AsyncResponse", "AsyncResult"]


class AsyncRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was asked for, in SageMaker's words."""

    content_type: str
    endpoint_name: str
    input_location: str


class AsyncResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of it, in SageMaker's words."""

    content_type: str
    output_location: str


class AsyncResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What SageMaker sends to a topic when an asynchronous inference ends; the shape is its own.

    Source: "Check prediction results" of asynchronous inference (docs.aws.amazon.com/sagemaker).
    """

    aws_region: str
    event_time: datetime
    received_time: datetime
    invocation_status: Literal["Completed", "Failed"]
    failure_reason: str | msgspec.UnsetType = msgspec.UNSET
    request_parameters: AsyncRequest
    response_parameters: AsyncResponse | msgspec.UnsetType = msgspec.UNSET
    inference_id: str
    event_version: Literal["1.0"] = "1.0"
    event_source: Literal["aws:sagemaker"] = "aws:sagemaker"
    event_name: Literal["InferenceResult"] = "InferenceResult"
