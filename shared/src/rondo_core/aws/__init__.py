"""The adapters of every port to AWS, the only modules that import boto3 (extra ``aws``).

The same code talks to AWS and to the emulators; only ``AwsSettings.aws_endpoint_url`` differs.
"""

from rondo_core.aws.connection import AwsPorts, Session, connect
from rondo_core.aws.dynamo_run_store import DynamoRunStore
from rondo_core.aws.s3_model_store import S3ModelStore
from rondo_core.aws.s3_object_folders import S3ObjectFolders
from rondo_core.aws.s3_upload_links import S3UploadLinks
from rondo_core.aws.sns_publish import SnsPublish
from rondo_core.aws.sqs_event_source import SqsEventSource
from rondo_core.aws.step_functions_workflow import StepFunctionsWorkflow

__all__ = [
    "AwsPorts",
    "DynamoRunStore",
    "S3ModelStore",
    "S3ObjectFolders",
    "S3UploadLinks",
    "Session",
    "SnsPublish",
    "SqsEventSource",
    "StepFunctionsWorkflow",
    "connect",
]
