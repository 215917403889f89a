"""The invented patients' DICOM instances: CT, MR, CR, DX and US images, and Basic Text SR documents.

Each instance is what its IOD asks for (PS3.3 A): patient, study, series,
equipment and image modules, the type 2 attributes present though empty. The
tests hold them against an independent validator where one is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from adapters.sandbox import phantom
from adapters.sandbox.models import SOP_CLASSES
from adapters.sandbox.patients import AUTHORITY, PEOPLE, STAFF, Person, Plan, uid

__all__ = ["code", "everything", "instance", "instances"]

# Body Part Examined -> its SNOMED CT code (PS3.16 annex L)
_REGIONS = {
    "CHEST": ("51185008", "Chest"),
    "HAND": ("85562004", "Hand"),
    "HEAD": ("69536005", "Head"),
    "BRAIN": ("12738006", "Brain"),
    "ABDOMEN": ("818981001", "Abdomen"),
}


def everything() -> Iterator[Dataset]:
    """Every instance of every patient, in order; built as they are asked for."""
    for one in PEOPLE:
        yield from instances(one)


def instances(one: Person) -> Iterator[Dataset]:
    for plan in one.studies:
        for number, series in enumerate(plan.series, 1):
            for image in range(1, series.images + 1):
                yield instance(one, plan, number, image)


def instance(one: Person, plan: Plan, number: int, image: int) -> Dataset:
    """One instance with its file meta information, ready for `save_as(..., enforce_file_format=True)`."""
    modality = plan.series[number - 1].modality
    made = Dataset()
    _general(made, one, plan, number, image)
    _MODULES[modality](made, plan, number, image)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(uid("implementation"))
    meta.ImplementationVersionName = "SPIR-SANDBOX"
    made.file_meta = meta
    return made


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


# -- modules that every instance has ---------------------------------------------------------


def _general(made: Dataset, one: Person, plan: Plan, number: int, image: int) -> None:
    series = plan.series[number - 1]
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = UID(SOP_CLASSES[series.modality])
    made.SOPInstanceUID = plan.image_uid(number, image)
    _patient(made, one)
    _study(made, plan)
    made.Modality = series.modality
    made.SeriesInstanceUID = plan.series_uid(number)
    made.SeriesNumber = number
    made.SeriesDescription = series.description
    made.InstanceNumber = image
    made.Manufacturer = "SPIR sandbox"
    made.InstitutionName = "Hospital A"
    made.ManufacturerModelName = "Invented data"
    made.SoftwareVersions = "1"


def _patient(made: Dataset, one: Person) -> None:
    made.PatientName = one.dicom_name
    made.PatientID = one.id
    made.IssuerOfPatientID = AUTHORITY
    made.PatientBirthDate = one.born
    made.PatientSex = one.sex


def _study(made: Dataset, plan: Plan) -> None:
    referrer = STAFF[0]
    made.StudyInstanceUID = plan.uid
    made.StudyDate = made.SeriesDate = made.ContentDate = plan.date
    made.StudyTime = made.SeriesTime = made.ContentTime = "083000"
    made.ReferringPhysicianName = f"{referrer.family}^{referrer.given}"
    made.StudyID = plan.accession[1:]
    made.AccessionNumber = plan.accession
    made.StudyDescription = plan.description


def _image(made: Dataset, plan: Plan, size: int, pixels: bytes, bits: int) -> None:
    """Image Pixel module (PS3.3 C.7.6.3): one sample, MONOCHROME2, 8 or 16 bits allocated."""
    made.BodyPartExamined = plan.region
    made.AcquisitionDate, made.AcquisitionTime = plan.date, "083000"
    made.AcquisitionNumber = 1
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows = made.Columns = size
    made.BitsAllocated = 8 if bits == 8 else 16
    made.BitsStored, made.HighBit = bits, bits - 1
    made.PixelRepresentation = 0
    made.BurnedInAnnotation = "NO"
    made.add_new("PixelData", "OB" if bits == 8 else "OW", pixels)


def _plane(made: Dataset, plan: Plan, size: int, image: int, thickness: float) -> None:
    """Frame of Reference and Image Plane modules (PS3.3 C.7.4.1, C.7.6.2), axial, 230 mm field of view."""
    spacing = round(230 / size, 4)
    made.FrameOfReferenceUID = uid("frame", plan.accession)
    made.PositionReferenceIndicator = ""
    made.PatientPosition = "HFS"
    made.PixelSpacing = [spacing, spacing]
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.ImagePositionPatient = [-115, -115, image * thickness]
    made.SliceThickness = thickness
    made.SliceLocation = image * thickness


# -- modules of one modality -----------------------------------------------------------------


def _ct(made: Dataset, plan: Plan, number: int, image: int) -> None:
    level = image / (plan.series[number - 1].images + 1)
    _image(made, plan, 64, phantom.words(phantom.head(64, level, 2400)), 12)
    _plane(made, plan, 64, image, 5.0)
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = -1024, 1, "HU"
    made.KVP = 120
    made.WindowCenter, made.WindowWidth = (40, 80) if number == 1 else (400, 2000)


def _mr(made: Dataset, plan: Plan, number: int, image: int) -> None:
    level = image / (plan.series[number - 1].images + 1)
    _image(made, plan, 96, phantom.words(phantom.head(96, level, 900 * number)), 12)
    _plane(made, plan, 96, image, 4.0)
    made.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    made.ScanningSequence, made.SequenceVariant, made.ScanOptions = "SE", "NONE", ""
    made.MRAcquisitionType = "2D"
    made.RepetitionTime, made.EchoTime, made.EchoTrainLength = (500, 12, 1) if number == 1 else (4000, 90, 1)
    made.MagneticFieldStrength = 1.5


def _cr(made: Dataset, plan: Plan, number: int, image: int) -> None:
    _image(made, plan, 128, phantom.words(phantom.plate(128, 0.02 * number, 3600)), 12)
    made.ImageType = ["ORIGINAL", "PRIMARY"]
    made.ViewPosition = "PA" if number == 1 else "LL"
    made.PatientOrientation = ["L", "F"] if number == 1 else ["A", "F"]


def _dx(made: Dataset, plan: Plan, number: int, image: int) -> None:
    """DX IOD, for presentation (PS3.3 A.26): the one with the most required attributes."""
    _image(made, plan, 128, phantom.words(phantom.plate(128, 0.05 * image, 3600)), 12)
    made.ImageType = ["ORIGINAL", "PRIMARY", ""]
    made.PresentationIntentType = "FOR PRESENTATION"
    made.AnatomicRegionSequence = _region(plan)
    made.ViewCodeSequence = Sequence([code("399348003", "SCT", "antero-posterior")])
    made.ViewPosition = "AP"
    made.ImageLaterality = "L"
    made.PatientOrientation = ["L", "F"]
    made.AcquisitionContextSequence = Sequence()
    made.PixelIntensityRelationship, made.PixelIntensityRelationshipSign = "LOG", -1
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = 0, 1, "US"
    made.WindowCenter, made.WindowWidth = 2048, 4096
    made.PresentationLUTShape = "IDENTITY"
    made.LossyImageCompression = "00"
    made.PositionerType = ""
    made.DetectorType, made.DetectorID = "DIRECT", "1"
    made.ImagerPixelSpacing = [1.5, 1.5]


def _us(made: Dataset, plan: Plan, number: int, image: int) -> None:
    _image(made, plan, 128, bytes(phantom.speckle(128, int(plan.accession[1:]) * 10 + image)), 8)
    made.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"]
    made.LossyImageCompression = "00"
    made.PatientOrientation = ""


def _sr(made: Dataset, plan: Plan, number: int, image: int) -> None:
    """Basic Text SR IOD (PS3.3 A.35.1): a title and two findings."""
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    made.ReferencedPerformedProcedureStepSequence = Sequence()
    made.PerformedProcedureCodeSequence = Sequence()
    made.ValueType = "CONTAINER"
    made.ConceptNameCodeSequence = Sequence([code("18748-4", "LN", "Diagnostic imaging report")])
    made.ContinuityOfContent = "SEPARATE"
    findings = ("No abnormality was invented.", "The phantom is complete.")
    made.ContentSequence = Sequence([_finding(text) for text in findings])


def _finding(text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = Sequence([code("121071", "DCM", "Finding")])
    item.TextValue = text
    return item


def _region(plan: Plan) -> Sequence:
    value, meaning = _REGIONS[plan.region]
    return Sequence([code(value, "SCT", meaning)])


_MODULES: dict[str, Callable[[Dataset, Plan, int, int], None]] = {
    "CT": _ct,
    "MR": _mr,
    "CR": _cr,
    "DX": _dx,
    "US": _us,
    "SR": _sr,
}
