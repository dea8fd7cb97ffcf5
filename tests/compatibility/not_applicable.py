"""Classes and functions of ART that have no row, and why."""

_TF, _DETECTION, _AUDIO = "TensorFlow or Keras only", "object detection", "speech and audio"
_BASE, _TABULAR, _HELP = "a base class", "tabular data", "part of another class"
_REASONS: dict[str, str] = {
    _TF: "AdversarialPatchTensorFlowV2 FeatureAdversariesTensorFlowV2 MalwareGDTensorFlow "
    "ProjectedGradientDescentTensorFlowV2 BackdoorAttackDGMReDTensorFlowV2 BackdoorAttackDGMTrailTensorFlowV2 "
    "PoisoningAttackAdversarialEmbedding HiddenTriggerBackdoorKeras CutMixTensorFlowV2 CutoutTensorFlowV2 "
    "MixupTensorFlowV2 SpatialSmoothingTensorFlowV2 NeuralCleanse TensorFlowV2RandomizedSmoothing TensorFlowV2MACER "
    "TensorFlowV2SmoothAdv EoTImageRotationTensorFlow EoTBrightnessTensorFlow EoTContrastTensorFlow "
    "EoTGaussianNoiseTensorFlow EoTShotNoiseTensorFlow EoTZoomBlurTensorFlow FunctionallyEquivalentExtraction "
    "ImageResizeTensorFlowV2 ImageSquarePadTensorFlowV2 StandardisationMeanStdTensorFlow KerasClassifier "
    "TensorFlowV2Classifier TensorFlowV2DeRandomizedSmoothing",
    _DETECTION: "AdversarialTexturePyTorch DPatch RobustDPatch OverloadPyTorch SNAL "
    "BadDetRegionalMisclassificationAttack BadDetGlobalMisclassificationAttack "
    "BadDetObjectGenerationAttack BadDetObjectDisappearanceAttack ObjectSeekerMixin PyTorchObjectSeeker",
    _AUDIO: "CarliniWagnerASR ImperceptibleASR ImperceptibleASRPyTorch Mp3Compression Mp3CompressionPyTorch Resample",
    _TABULAR: "LowProFool AttributeInferenceBlackBox AttributeInferenceBaseline AttributeInferenceBaselineTrueLabel "
    "AttributeInferenceWhiteBoxDecisionTree AttributeInferenceWhiteBoxLifestyleDecisionTree "
    "AttributeInferenceMembership",
    _BASE: "Preprocessor PreprocessorPyTorch PreprocessorTensorFlowV2 Postprocessor Trainer EvasionDetector "
    "PoisonFilteringDefence RandomizedSmoothingMixin ClassifierMixin ClassGradientsMixin Evaluation",
    _HELP: "GroundTruthEvaluator ClusteringAnalyzer ComparisonType",
    "scikit-learn models": "DecisionTreeAttack PoisoningAttackSVM DatabaseReconstruction SklearnClassifier",
    "decision trees": "RobustnessVerificationTreeModelsCliqueMethod CatBoostARTClassifier LightGBMClassifier "
    "XGBoostClassifier",
    "Gaussian processes": "HighConfidenceLowUncertainty GPyGaussianProcessClassifier",
    "models of `Conv2d`, `Linear` and `ReLU` only: ART makes its certified layers of these": "PytorchDeepZ ZonoBounds "
    "ZonoConv ZonoDenseLayer ZonoReLU PyTorchIBPClassifier PyTorchIntervalBounds PyTorchIntervalConv2D "
    "PyTorchIntervalDense PyTorchIntervalFlatten PyTorchIntervalReLU",
    "models of Hugging Face's transformers": "HuggingFaceClassifierPyTorch",
    "the plain classifier, whose place art_snn's takes": "PyTorchClassifier",
    "a PixelCNN beside the classifier": "PixelDefend",
    "models with certified layers": "AdversarialTrainerCertifiedPytorch AdversarialTrainerCertifiedIBPPyTorch",
    "a self-supervised model with backbone and projector": "BeyondDetectorPyTorch",
}
NOT_APPLICABLE = {name: reason for reason, names in _REASONS.items() for name in names.split()}
