"""Scans made on the spot: DICOM files with a patient's name planted wherever one can stand, and NIfTI files with odd headers."""

import functools
import io
import os

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medical import volumes
from pipelines.errors import DataError

PLANTED = "Nightingale"
AXIAL = (1, 0, 0, 0, 1, 0)


def affine(*, oblique=False, flips=(1, 1, 1), spacing=(0.7, 0.9, 2.5), origin=(-20.0, 31.5, 7.25)):
    """An affine with flipped axes, turned about two axes where it is to be oblique."""
    turn = np.eye(3)
    if oblique:
        a, b = 0.35, -0.2
        about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
        about_z = [[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]]
        turn = np.array(about_x) @ np.array(about_z)
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(np.multiply(flips, spacing))
    matrix[:3, 3] = origin
    return matrix


def nifti(path, array, matrix=None, **fields):
    """Write a NIfTI file, its header changed afterwards, so that nibabel cannot object."""
    image = nib.Nifti1Image(array, np.eye(4) if matrix is None else matrix, dtype=array.dtype)
    raw = bytearray(image.to_bytes())
    header = nib.nifti1.Nifti1PairHeader(bytes(raw[:348]), check=False)
    header["magic"] = b"n+1"
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(bytes(raw))
    return path


def silent(write):
    """Keep quiet what pydicom says of the values it is given: only what reading says is of interest."""

    @functools.wraps(write)
    def quietly(*args, **kwargs):
        with pydicom.config.disable_value_validation():
            return write(*args, **kwargs)

    return quietly


def planted():
    """A dataset of all that says who the patient is, valid and invalid, also in private elements."""
    dataset = Dataset()
    dataset.PatientName = f"{PLANTED}^Florence"
    dataset.PatientID = f"ID-{PLANTED}"
    dataset.PatientComments = PLANTED * 20
    dataset.SeriesDescription = f"head {PLANTED}"
    dataset.StudyDescription = PLANTED
    dataset.InstitutionName = PLANTED
    dataset.OtherPatientIDsSequence = Sequence([Dataset()])
    dataset.OtherPatientIDsSequence[0].PatientID = PLANTED
    block = dataset.private_block(0x000B, PLANTED, create=True)
    block.add_new(0x01, "LO", PLANTED)
    return dataset


@silent
def dicom(path, pixels, *, position=(0, 0, 0), orientation=AXIAL, spacing=(0.5, 0.8), series="1.2.3", bits=None, **fields):
    """Write one DICOM file; fields set to None are left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), planted(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.SeriesInstanceUID = "CT", series
    dataset.ImagePositionPatient = None if position is None else [float(x) for x in position]
    dataset.ImageOrientationPatient = None if orientation is None else [float(x) for x in orientation]
    dataset.PixelSpacing = None if spacing is None else list(spacing)
    if pixels is not None:
        frames = pixels.ndim - 2 - (pixels.ndim > 2 and pixels.shape[-1] == 3)
        dataset.Rows, dataset.Columns = pixels.shape[frames : frames + 2]
        dataset.SamplesPerPixel = 3 if pixels.shape[-1] == 3 and pixels.ndim > 2 else 1
        dataset.PhotometricInterpretation = "RGB" if dataset.SamplesPerPixel == 3 else "MONOCHROME2"
        if dataset.SamplesPerPixel == 3:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = 8 * pixels.dtype.itemsize
        dataset.BitsStored = bits or dataset.BitsAllocated
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        if frames:
            dataset.NumberOfFrames = pixels.shape[0]
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    for name, value in fields.items():
        setattr(dataset, name, value)
    for name in [element.keyword for element in dataset if element.keyword and element.value is None]:
        delattr(dataset, name)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    path.write_bytes(stream.getvalue())
    return path


def series(folder, array, *, matrix=None, order=None, gaps=None, **fields):
    """Write a volume `(columns, rows, slices)` as files whose names say nothing about their order; return the paths by slice."""
    folder.mkdir(exist_ok=True)
    lps = np.diag([-1, -1, 1, 1]) @ (affine() if matrix is None else matrix)
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    orientation = [*(lps[:3, 0] / steps[0]), *(lps[:3, 1] / steps[1])]
    paths = []
    for k in range(array.shape[2]):
        place = k if gaps is None else gaps[k]
        paths.append(
            dicom(
                folder / f"{(k * 7 + 3) % 101:03d}.dcm",
                np.ascontiguousarray(array[:, :, k].T),
                position=lps[:3, 3] + lps[:3, 2] * place,
                orientation=orientation,
                spacing=(steps[1], steps[0]),
                InstanceNumber=(k * 5) % 13,
                **fields,
            )
        )
    return paths


def functional_groups(pixels_per_frame, *, spacing=(0.5, 0.8)):
    """The sequences of an enhanced file: what all frames share, and where each lies (position, slope, intercept)."""
    shared, each = Dataset(), []
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = list(spacing)
    shared.PixelMeasuresSequence[0].SliceThickness = 2.0
    shared.PlaneOrientationSequence = Sequence([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(AXIAL)
    for position, slope, intercept in pixels_per_frame:
        own = Dataset()
        own.PlanePositionSequence = Sequence([Dataset()])
        own.PlanePositionSequence[0].ImagePositionPatient = list(position)
        own.PixelValueTransformationSequence = Sequence([Dataset()])
        own.PixelValueTransformationSequence[0].RescaleSlope = slope
        own.PixelValueTransformationSequence[0].RescaleIntercept = intercept
        own.FrameVOILUTSequence = Sequence([Dataset()])
        own.FrameVOILUTSequence[0].WindowCenter, own.FrameVOILUTSequence[0].WindowWidth = 40, 400
        each.append(own)
    return {"SharedFunctionalGroupsSequence": Sequence([shared]), "PerFrameFunctionalGroupsSequence": Sequence(each)}


def reread(path):
    return pydicom.dcmread(path)


def read_or_refused(path):
    """Read a file, or see that the error names it; say whether it was read."""
    try:
        volumes.read(path)
    except DataError as error:
        named = str(path) in str(error)
    else:
        return True
    assert named
    return False


class Trap:
    """What runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)
