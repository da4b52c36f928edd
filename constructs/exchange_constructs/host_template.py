"""What every EC2 host of ours has in common, whichever service it runs."""

from typing import Final

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

DISK_GIB: Final = 16


class HostTemplate(ec2.LaunchTemplate):
    """Metadata by session tokens that end at the host, no public address, a system disk under our key, full metrics."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        instance_type: str,
        machine_image: ec2.IMachineImage,
        role: iam.IRole,
        security_group: ec2.ISecurityGroup,
        disk_key: kms.IKey,
        user_data: ec2.UserData,
        nitro_enclave_enabled: bool | None = None,
        tags_in_metadata: bool = False,
    ) -> None:
        """Create the template. With `tags_in_metadata` a host can read its own tags, its group's name among them."""
        super().__init__(
            scope,
            construct_id,
            instance_type=ec2.InstanceType(instance_type),
            machine_image=machine_image,
            nitro_enclave_enabled=nitro_enclave_enabled,
            role=role,
            security_group=security_group,
            detailed_monitoring=True,
            require_imdsv2=True,
            http_put_response_hop_limit=1,
            instance_metadata_tags=tags_in_metadata or None,
            associate_public_ip_address=False,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/xvda",
                    volume=ec2.BlockDeviceVolume.ebs(
                        DISK_GIB, volume_type=ec2.EbsDeviceVolumeType.GP3, encrypted=True, kms_key=disk_key
                    ),
                )
            ],
            user_data=user_data,
        )
